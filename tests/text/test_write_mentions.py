"""From the mentions of a Doc to `doc.spans` and `doc.ents`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from spacy.tokens import Doc, DocBin, Span
from span_helpers import NLP, TEXT, CountedDoc, annotated, ents, group, scored

from spacy_padellm.mention.calibration import Calibration, Promise
from spacy_padellm.mention.mention import Mention, ScoredSpan
from spacy_padellm.text.doc_mentions import DocMentions
from spacy_padellm.text.write_mentions import write_mentions


def promised(doc: Doc) -> list[tuple[str, float | None]]:
    spans = doc.spans["padellm_promised"]
    return [(span.text, span._.padellm_score) for span in spans]


# Annotation


def test_write_mentions_nested_mentions_are_all_kept_in_the_group() -> None:
    doc = annotated(scored("Paris", "LOC"), scored("Bank of Paris"))
    assert group(doc) == [("Bank of Paris", "ORG"), ("Paris", "LOC")]


def test_write_mentions_the_likelier_of_nested_mentions_is_the_entity() -> None:
    doc = annotated(scored("Paris", "LOC", 0.4), scored("Bank of Paris", score=0.6))
    assert ents(doc) == [("Bank of Paris", "ORG")]


def test_write_mentions_threshold_is_the_lowest_score_of_an_entity() -> None:
    low, exact = scored("Bank", score=0.49), scored("Paris", score=0.5)
    assert ents(annotated(low, exact, lowest_score=lambda label: 0.5)) == [
        ("Paris", "ORG")
    ]


def test_write_mentions_below_the_threshold_are_left_out_of_the_group() -> None:
    low, exact = scored("Bank", score=0.49), scored("Paris", score=0.5)
    assert group(annotated(low, exact, lowest_score=lambda label: 0.5)) == [
        ("Paris", "ORG")
    ]


def test_write_mentions_thresholds_by_label() -> None:
    low, same = scored("Bank", "ORG", 0.3), scored("Paris", "LOC", 0.3)
    lowest = {"ORG": 0.4, "LOC": 0.3}
    doc = annotated(low, same, lowest_score=lowest.__getitem__)
    assert ents(doc) == [("Paris", "LOC")]


def test_write_mentions_below_the_threshold_takes_no_place() -> None:
    unsure, sure = scored("Bank of Paris", score=0.4), scored("Paris", "LOC", 0.9)
    assert ents(annotated(unsure, sure, lowest_score=lambda label: 0.5)) == [
        ("Paris", "LOC")
    ]


def test_write_mentions_lose_marks_that_are_not_theirs() -> None:
    doc = NLP("in *Berlin* now")
    spans = [
        ScoredSpan(3, 10, "LOC", 0.9, "exact"),
        ScoredSpan(3, 4, "LOC", 0.2, "exact"),
    ]
    options: dict[str, Any] = {"alignment_mode": "strict", "existing": "overwrite"}
    write_mentions(
        doc,
        DocMentions(spans=spans),
        spans_key="padellm",
        lowest_score=lambda label: 0.0,
        **options,
    )
    assert ents(doc) == group(doc) == [("Berlin", "LOC")]


def test_write_mentions_nothing_found_is_marked_outside() -> None:
    doc = annotated()
    assert doc.has_annotation("ENT_IOB")
    assert all(token.ent_iob_ == "O" for token in doc)


def test_write_mentions_empty_doc_has_an_empty_group() -> None:
    doc = annotated(doc=NLP.make_doc(""))
    assert (list(doc.spans["padellm"]), doc.ents) == ([], ())


@pytest.mark.parametrize(
    ("mode", "texts"),
    [("strict", []), ("contract", ["of"]), ("expand", ["Bank of Paris"])],
)
def test_write_mentions_that_cuts_tokens(mode: str, texts: list[str]) -> None:
    doc = annotated(scored("nk of Par"), alignment_mode=mode)
    assert [text for text, _ in group(doc)] == texts


@pytest.mark.parametrize("mode", ["strict", "contract"])
def test_write_mentions_that_no_token_fits_is_dropped(mode: str) -> None:
    doc = annotated(scored("ari", score=0.25), alignment_mode=mode)
    dropped = [{"label": "ORG", "text": "ari", "score": 0.25}]
    assert (group(doc), doc.spans["padellm"].attrs["dropped"]) == ([], dropped)


@pytest.mark.parametrize(
    ("text", "mention", "expected"),
    [
        ("Merkel在Berlin", "Merkel", []),
        ("Merkel在Berlin", "在", []),
        ("Merkel在Berlin", "Merkel在Berlin", ["Merkel在Berlin"]),
        ("Merkels Berlin", "Merkel", ["Merkels"]),
        ("COVID19 fell", "COVID", ["COVID19"]),
    ],
)
def test_write_mentions_are_not_widened_to_another_script(
    text: str, mention: str, expected: list[str]
) -> None:
    start = text.index(mention)
    span = ScoredSpan(start, start + len(mention), "PER", 0.5, "exact")
    doc = annotated(span, doc=NLP.make_doc(text))
    assert [found for found, _ in group(doc)] == expected
    dropped = doc.spans["padellm"].attrs["dropped"]
    assert [entry["text"] for entry in dropped] == ([] if expected else [mention])


def test_write_mentions_that_widen_to_one_span_keep_the_best_score() -> None:
    doc = annotated(scored("Par", score=0.3), scored("aris", score=0.7))
    assert group(doc) == [("Paris", "ORG")]
    assert doc.spans["padellm"].attrs["scores"] == [0.7]


def test_write_mentions_that_widen_over_each_other_are_flat_in_ents() -> None:
    doc = annotated(scored("Ban", score=0.3), scored("nk of", score=0.7))
    assert ents(doc) == [("Bank of", "ORG")]


def test_write_mentions_attrs_are_in_the_order_of_the_spans() -> None:
    doc = annotated(scored("Paris", "LOC", 0.25), scored("Bank", score=0.75))
    attrs = doc.spans["padellm"].attrs
    assert (attrs["scores"], attrs["statuses"]) == ([0.75, 0.25], ["exact", "exact"])


def test_write_mentions_that_no_token_fits_read_the_text_once() -> None:
    joined = []
    for lost in (1, 9):
        doc = CountedDoc(NLP.vocab, words=TEXT.split())
        spans = [ScoredSpan(i, i + 1, "ORG", 0.5, "exact") for i in range(4, 4 + lost)]
        annotated(*spans, doc=doc, alignment_mode="strict")
        joined.append(doc.joined)
    assert joined[0] == joined[1]


def test_write_mentions_attrs_survive_a_doc_bin() -> None:
    ghost = Mention("PER", 1, "Ghost", 0.125)
    doc = annotated(scored("Paris", score=0.25), dropped=[ghost])
    data = DocBin(docs=[doc]).to_bytes()
    [copy] = DocBin().from_bytes(data).get_docs(NLP.vocab)
    assert copy.spans["padellm"].attrs == {
        "scores": [0.25],
        "statuses": ["exact"],
        "places": [[12, 17, "ORG"]],
        "dropped": [{"label": "PER", "text": "Ghost", "score": 0.125}],
        "expected": {"ORG": [0.25, 0.0]},
    }


# Entities that are there already


def with_ent(start: int, end: int) -> Doc:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([Span(doc, start, end, "OLD")])
    return doc


def test_write_mentions_overwrite_replaces_all_existing_entities() -> None:
    doc = annotated(scored("Paris"), doc=with_ent(0, 1))
    assert ents(doc) == [("Paris", "ORG")]


def test_write_mentions_overwrite_leaves_no_id_of_an_entity_that_was_there() -> None:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([Span(doc, 3, 4, "OLD", span_id="b")])
    assert doc.ents[0].ent_id_ == "b"
    assert annotated(scored("Paris"), doc=doc).ents[0].ent_id_ == ""


def test_write_mentions_keep_adds_where_there_is_room() -> None:
    doc = annotated(scored("Paris"), doc=with_ent(0, 1), existing="keep")
    assert ents(doc) == [("The", "OLD"), ("Paris", "ORG")]


def test_write_mentions_keep_lets_existing_entities_win() -> None:
    found = scored("Bank of Paris", score=1.0)
    assert ents(annotated(found, doc=with_ent(3, 4), existing="keep")) == [
        ("Paris", "OLD")
    ]


def test_write_mentions_keep_marks_a_fresh_doc_outside() -> None:
    assert annotated(existing="keep").has_annotation("ENT_IOB")


def with_blocked() -> Doc:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([], blocked=[doc[2:4]])
    return doc


def test_write_mentions_keep_adds_nothing_that_is_blocked() -> None:
    found = (scored("Bank of Paris", score=0.9), scored("closed"))
    doc = annotated(*found, doc=with_blocked(), existing="keep")
    assert ents(doc) == [("closed", "ORG")]


def test_write_mentions_keep_leaves_blocked_tokens_blocked() -> None:
    doc = annotated(scored("Bank"), doc=with_blocked(), existing="keep")
    doc = annotated(scored("Paris"), doc=doc, existing="keep")
    assert ents(doc) == [("Bank", "ORG")]


def test_write_mentions_overwrite_takes_no_heed_of_blocked_tokens() -> None:
    assert ents(annotated(scored("Paris"), doc=with_blocked())) == [("Paris", "ORG")]


# Promises


def keep(promise: Promise, *candidates: ScoredSpan, **settings: Any) -> Doc:
    """A Doc annotated with a promise; no mention reaches its normal threshold."""
    doc = NLP.make_doc(TEXT)
    write_mentions(
        doc,
        DocMentions(list(candidates), candidates=list(candidates)),
        spans_key="padellm",
        lowest_score=lambda label: 0.7,
        existing="overwrite",
        promise=promise,
        **{"alignment_mode": "expand", **settings},
    )
    return doc


def test_write_mentions_of_a_promise_have_its_thresholds() -> None:
    spans = [scored("Bank", score=0.8), scored("Paris", score=0.2)]
    spans += [scored("closed", score=0.1), scored("The", "PER", 0.9)]
    doc = keep(Promise("recall", 0.9, 0.9, {"ORG": 0.2}), *spans)
    assert ents(doc) == [("The", "PER"), ("Bank", "ORG")]
    assert promised(doc) == [("Bank", 0.8), ("Paris", 0.2)]


def test_write_mentions_without_a_promise_have_no_group_of_it() -> None:
    assert list(annotated(scored("Bank")).spans) == ["padellm"]


def test_write_mentions_of_a_promise_are_calibrated() -> None:
    lowered = Calibration(offset=-1.0)
    promise = Promise("recall", 0.9, 0.9, {"ORG": lowered(0.6)})
    spans = [scored("Bank", score=0.6), scored("Paris", score=0.5)]
    doc = keep(promise, *spans, calibration=lowered)
    assert promised(doc) == [("Bank", lowered(0.6))]


def test_write_mentions_of_a_promise_survive_a_docbin() -> None:
    doc = keep(Promise("recall", 0.9, 0.9, {"ORG": 0.2}), scored("Bank", score=0.25))
    [read] = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab)
    assert promised(read) == [("Bank", 0.25)]


def test_write_mentions_of_a_promise_that_no_token_fits_are_dropped() -> None:
    promise = Promise("recall", 0.9, 0.9, {"ORG": 0.2})
    doc = keep(promise, scored("ari", score=0.25), alignment_mode="strict")
    dropped = [{"label": "ORG", "text": "ari", "score": 0.25}]
    assert (promised(doc), doc.spans["padellm_promised"].attrs["dropped"]) == (
        [],
        dropped,
    )


# Alternatives


def test_write_mentions_alternatives_are_those_in_the_place_of_a_mention() -> None:
    doc = NLP.make_doc(TEXT)
    spans = [scored("Bank of Paris", score=0.8), scored("closed", "PER", 0.75)]
    others = [scored("Paris", "LOC", 0.2), scored("Bank of Paris", "LOC", 0.3)]
    found = DocMentions(spans, alternatives=[*spans, *others])
    write_mentions(
        doc,
        found,
        spans_key="padellm",
        alignment_mode="expand",
        lowest_score=lambda label: 0.7,
        existing="overwrite",
        alternatives=True,
    )
    assert doc.spans["padellm"].attrs["alternatives"] == [
        [
            {"start": 4, "end": 17, "label": "LOC", "score": 0.3},
            {"start": 12, "end": 17, "label": "LOC", "score": 0.2},
        ],
        [],
    ]
    [read] = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab)
    assert read.spans["padellm"].attrs == doc.spans["padellm"].attrs


PLACES = st.tuples(
    st.integers(0, 20), st.integers(1, 8), st.sampled_from("AB"), st.integers(1, 4)
)


@given(st.lists(PLACES, max_size=12), st.lists(PLACES, max_size=12))
def test_write_mentions_alternatives_are_all_that_overlap(
    kept: list[tuple[int, int, str, int]], others: list[tuple[int, int, str, int]]
) -> None:
    doc = Doc(NLP.vocab, words=["x"] * 28, spaces=[False] * 28)
    spans, candidates = (
        [ScoredSpan(a, a + n, x, s / 4, "exact") for a, n, x, s in places]
        for places in (kept, others)
    )
    write_mentions(
        doc,
        DocMentions(spans, alternatives=candidates),
        spans_key="padellm",
        alignment_mode="strict",
        lowest_score=lambda label: 0.0,
        existing="overwrite",
        alternatives=True,
    )
    found: Any = doc.spans["padellm"].attrs
    places = [tuple(place) for place in found["places"]]
    best = {
        (s.start, s.end, s.label): s.score
        for s in sorted(candidates, key=lambda s: s.score)
        if (s.start, s.end, s.label) not in places
    }
    for (start, end, _), shown in zip(places, found["alternatives"], strict=True):
        expected = {k: x for k, x in best.items() if k[0] < end and start < k[1]}
        named = {(a["start"], a["end"], a["label"]): a["score"] for a in shown}
        scores = [a["score"] for a in shown]
        assert (named, len(shown)) == (expected, len(expected))
        assert scores == sorted(scores, reverse=True)


def test_write_mentions_alternatives_are_written_on_request_only() -> None:
    assert "alternatives" not in annotated(scored("Bank")).spans["padellm"].attrs
