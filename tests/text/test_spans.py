"""From mentions to `doc.spans` and `doc.ents`."""

from __future__ import annotations

from typing import Any

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span, SpanGroup

from spacy_padellm.mention.calibration import Calibration, Promise
from spacy_padellm.mention.mention import Mention, ScoredSpan
from spacy_padellm.text.doc_mentions import DocMentions, align_mentions
from spacy_padellm.text.span_getters import make_strided_spans
from spacy_padellm.text.spans import gold_spans
from spacy_padellm.text.windows import make_windows
from spacy_padellm.text.write_mentions import write_mentions

NLP = spacy.blank("en")
TEXT = "The Bank of Paris closed ."


def scored(
    string: str, label: str = "ORG", score: float = 0.5, *, text: str = TEXT
) -> ScoredSpan:
    start = text.index(string)
    return ScoredSpan(start, start + len(string), label, score, "exact")


def annotated(*spans: ScoredSpan, doc: Doc | None = None, **settings: Any) -> Doc:
    doc = NLP.make_doc(TEXT) if doc is None else doc
    dropped = settings.pop("dropped", [])
    options = {
        "spans_key": "padellm",
        "alignment_mode": "expand",
        "lowest_score": lambda label: 0.0,
        "existing": "overwrite",
    }
    write_mentions(doc, DocMentions(list(spans), dropped), **{**options, **settings})
    return doc


def promised(doc: Doc) -> list[tuple[str, float | None]]:
    spans = doc.spans["padellm_promised"]
    return [(span.text, span._.padellm_score) for span in spans]


def group(doc: Doc) -> list[tuple[str, str]]:
    return [(span.text, span.label_) for span in doc.spans["padellm"]]


def ents(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


def place(doc: Doc, mentions: list[list[Mention]], size: int, step: int) -> DocMentions:
    windows = make_windows([doc], make_strided_spans(size, step))
    assert len(windows) == len(mentions)
    [result] = align_mentions([doc], windows, mentions, dedup="on")
    return result


# Places


def test_spans_mention_in_the_overlap_counts_once() -> None:
    doc = NLP.make_doc("a b c Bob e f")
    bob = Mention("PER", 1, "Bob", 0.5)
    result = place(doc, [[bob], [bob]], 4, 2)
    assert [(s.start, s.end) for s in result.spans] == [(6, 9)]


def test_spans_mention_that_repeats_across_windows_counts_each_time() -> None:
    doc = NLP.make_doc("Bob b c d e Bob")
    bob = Mention("PER", 1, "Bob", 0.5)
    result = place(doc, [[bob], [bob]], 4, 3)
    assert [s.start for s in result.spans] == [0, 12]


def test_spans_mention_that_a_window_cuts_is_taken_whole_from_the_next() -> None:
    doc = NLP.make_doc("a b c Bank of Old Paris f g")
    cut = Mention("ORG", 1, "Bank of", 0.9)
    whole = Mention("ORG", 1, "Bank of Old Paris", 0.6)
    result = place(doc, [[cut], [whole], []], 5, 3)
    assert [doc.text[s.start : s.end] for s in result.spans] == [whole.text]
    other = Mention("LOC", 1, "Bank of Old Paris", 0.6)
    result = place(doc, [[cut], [other], []], 5, 3)
    assert [doc.text[s.start : s.end] for s in result.spans] == [cut.text]


def test_spans_mention_that_is_not_in_the_text_is_dropped() -> None:
    ghost = Mention("PER", 1, "Ghost", 0.5)
    result = place(NLP.make_doc("a b"), [[ghost]], 4, 4)
    assert (result.spans, result.dropped) == ([], [ghost])


@pytest.mark.parametrize(
    ("dedup", "labels"),
    [("on", ["LOC"]), ("reversed", ["PER"]), ("off", ["PER", "LOC"])],
)
def test_spans_dedup_is_done(dedup: Any, labels: list[str]) -> None:
    doc = NLP.make_doc("in Paris")
    windows = make_windows([doc], make_strided_spans(8, 8))
    mentions = [Mention("PER", 1, "Paris", 0.4), Mention("LOC", 1, "Paris", 0.6)]
    [result] = align_mentions([doc], windows, [mentions], dedup=dedup)
    assert [s.label for s in result.spans] == labels


def test_spans_dedup_is_among_mentions_that_are_likely_enough() -> None:
    doc = NLP.make_doc("in Paris")
    windows = make_windows([doc], make_strided_spans(8, 8))
    mentions = [Mention("PER", 1, "Paris", 0.4), Mention("LOC", 1, "Paris", 0.3)]
    [result] = align_mentions(
        [doc],
        windows,
        [mentions],
        dedup="on",
        passes_threshold=lambda m: m.label == "LOC",
    )
    assert [s.label for s in result.spans] == ["LOC"]


# Annotation


def test_spans_nested_mentions_are_all_kept_in_the_group() -> None:
    doc = annotated(scored("Paris", "LOC"), scored("Bank of Paris"))
    assert group(doc) == [("Bank of Paris", "ORG"), ("Paris", "LOC")]


def test_spans_the_likelier_of_nested_mentions_is_the_entity() -> None:
    doc = annotated(scored("Paris", "LOC", 0.4), scored("Bank of Paris", score=0.6))
    assert ents(doc) == [("Bank of Paris", "ORG")]


def test_spans_threshold_is_the_lowest_score_of_an_entity() -> None:
    low, exact = scored("Bank", score=0.49), scored("Paris", score=0.5)
    assert ents(annotated(low, exact, lowest_score=lambda label: 0.5)) == [
        ("Paris", "ORG")
    ]


def test_spans_mentions_below_the_threshold_are_left_out_of_the_group() -> None:
    low, exact = scored("Bank", score=0.49), scored("Paris", score=0.5)
    assert group(annotated(low, exact, lowest_score=lambda label: 0.5)) == [
        ("Paris", "ORG")
    ]


def test_spans_thresholds_by_label() -> None:
    low, same = scored("Bank", "ORG", 0.3), scored("Paris", "LOC", 0.3)
    lowest = {"ORG": 0.4, "LOC": 0.3}
    doc = annotated(low, same, lowest_score=lowest.__getitem__)
    assert ents(doc) == [("Paris", "LOC")]


def test_spans_mention_below_the_threshold_takes_no_place() -> None:
    unsure, sure = scored("Bank of Paris", score=0.4), scored("Paris", "LOC", 0.9)
    assert ents(annotated(unsure, sure, lowest_score=lambda label: 0.5)) == [
        ("Paris", "LOC")
    ]


def test_spans_nothing_found_is_marked_outside() -> None:
    doc = annotated()
    assert doc.has_annotation("ENT_IOB")
    assert all(token.ent_iob_ == "O" for token in doc)


def test_spans_empty_doc_has_an_empty_group() -> None:
    doc = annotated(doc=NLP.make_doc(""))
    assert (list(doc.spans["padellm"]), doc.ents) == ([], ())


@pytest.mark.parametrize(
    ("mode", "texts"),
    [("strict", []), ("contract", ["of"]), ("expand", ["Bank of Paris"])],
)
def test_spans_mention_that_cuts_tokens(mode: str, texts: list[str]) -> None:
    doc = annotated(scored("nk of Par"), alignment_mode=mode)
    assert [text for text, _ in group(doc)] == texts


@pytest.mark.parametrize("mode", ["strict", "contract"])
def test_spans_mention_that_no_token_fits_is_dropped(mode: str) -> None:
    doc = annotated(scored("ari", score=0.25), alignment_mode=mode)
    dropped = [{"label": "ORG", "text": "ari", "score": 0.25}]
    assert (group(doc), doc.spans["padellm"].attrs["dropped"]) == ([], dropped)


@pytest.mark.parametrize(
    ("text", "mention", "wanted"),
    [
        ("Merkel在Berlin", "Merkel", []),
        ("Merkel在Berlin", "在", []),
        ("Merkel在Berlin", "Merkel在Berlin", ["Merkel在Berlin"]),
        ("Merkels Berlin", "Merkel", ["Merkels"]),
        ("COVID19 fell", "COVID", ["COVID19"]),
    ],
)
def test_spans_mentions_are_not_widened_to_another_script(
    text: str, mention: str, wanted: list[str]
) -> None:
    start = text.index(mention)
    span = ScoredSpan(start, start + len(mention), "PER", 0.5, "exact")
    doc = annotated(span, doc=NLP.make_doc(text))
    assert [found for found, _ in group(doc)] == wanted
    dropped = doc.spans["padellm"].attrs["dropped"]
    assert [entry["text"] for entry in dropped] == ([] if wanted else [mention])


def test_spans_mentions_that_widen_to_one_span_keep_the_best_score() -> None:
    doc = annotated(scored("Par", score=0.3), scored("aris", score=0.7))
    assert group(doc) == [("Paris", "ORG")]
    assert doc.spans["padellm"].attrs["scores"] == [0.7]


def test_spans_mentions_that_widen_over_each_other_are_flat_in_ents() -> None:
    doc = annotated(scored("Ban", score=0.3), scored("nk of", score=0.7))
    assert ents(doc) == [("Bank of", "ORG")]


def test_spans_attrs_are_in_the_order_of_the_spans() -> None:
    doc = annotated(scored("Paris", "LOC", 0.25), scored("Bank", score=0.75))
    attrs = doc.spans["padellm"].attrs
    assert (attrs["scores"], attrs["statuses"]) == ([0.75, 0.25], ["exact", "exact"])


def test_spans_attrs_survive_a_doc_bin() -> None:
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


def test_spans_overwrite_replaces_all_existing_entities() -> None:
    doc = annotated(scored("Paris"), doc=with_ent(0, 1))
    assert ents(doc) == [("Paris", "ORG")]


def test_spans_overwrite_leaves_no_id_of_an_entity_that_was_there() -> None:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([Span(doc, 3, 4, "OLD", span_id="b")])
    assert doc.ents[0].ent_id_ == "b"
    assert annotated(scored("Paris"), doc=doc).ents[0].ent_id_ == ""


def test_spans_keep_adds_where_there_is_room() -> None:
    doc = annotated(scored("Paris"), doc=with_ent(0, 1), existing="keep")
    assert ents(doc) == [("The", "OLD"), ("Paris", "ORG")]


def test_spans_keep_lets_existing_entities_win() -> None:
    found = scored("Bank of Paris", score=1.0)
    assert ents(annotated(found, doc=with_ent(3, 4), existing="keep")) == [
        ("Paris", "OLD")
    ]


def test_spans_keep_marks_a_fresh_doc_outside() -> None:
    assert annotated(existing="keep").has_annotation("ENT_IOB")


def with_blocked() -> Doc:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([], blocked=[doc[2:4]])
    return doc


def test_spans_keep_adds_nothing_that_is_blocked() -> None:
    found = (scored("Bank of Paris", score=0.9), scored("closed"))
    doc = annotated(*found, doc=with_blocked(), existing="keep")
    assert ents(doc) == [("closed", "ORG")]


def test_spans_keep_leaves_blocked_tokens_blocked() -> None:
    doc = annotated(scored("Bank"), doc=with_blocked(), existing="keep")
    doc = annotated(scored("Paris"), doc=doc, existing="keep")
    assert ents(doc) == [("Bank", "ORG")]


def test_spans_overwrite_takes_no_heed_of_blocked_tokens() -> None:
    assert ents(annotated(scored("Paris"), doc=with_blocked())) == [("Paris", "ORG")]


# Scores of spans


def test_spans_score_of_a_mention() -> None:
    doc = annotated(scored("Paris", score=0.25))
    assert doc.spans["padellm"][0]._.padellm_score == 0.25


def test_spans_score_of_an_entity() -> None:
    doc = annotated(scored("Bank", score=0.75), scored("Paris", score=0.25))
    assert [ent._.padellm_score for ent in doc.ents] == [0.75, 0.25]


def test_spans_score_of_labels_on_one_place_differ() -> None:
    doc = annotated(scored("Paris", "A", 0.25), scored("Paris", "B", 0.75))
    assert [s._.padellm_score for s in doc.spans["padellm"]] == [0.25, 0.75]


def test_spans_score_of_another_span_is_none() -> None:
    doc = annotated(scored("Paris"))
    assert doc[0:2]._.padellm_score is None


def test_spans_score_under_another_label_is_none() -> None:
    doc = annotated(scored("Paris"))
    assert Span(doc, 3, 4, "OTHER")._.padellm_score is None


def test_spans_score_is_not_that_of_another_component() -> None:
    doc = NLP.make_doc(TEXT)
    span = Span(doc, 3, 4, "ORG")
    doc.spans["sc"] = SpanGroup(doc, attrs={"scores": [0.5]}, spans=[span])
    assert span._.padellm_score is None


def test_spans_score_is_kept_where_tokens_are_merged() -> None:
    doc = annotated(scored("Bank of Paris", score=0.75), scored("closed", score=0.25))
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[1:4])
    assert [ent._.padellm_score for ent in doc.ents] == [0.75, 0.25]


def test_spans_score_survives_a_doc_bin() -> None:
    doc = annotated(scored("Bank of Paris", score=0.75), scored("closed", score=0.25))
    data = DocBin(docs=[doc]).to_bytes()
    [copy] = DocBin().from_bytes(data).get_docs(NLP.vocab)
    assert [ent._.padellm_score for ent in copy.ents] == [0.75, 0.25]


def test_spans_score_survives_bytes() -> None:
    doc = annotated(scored("Bank", score=0.75), scored("Paris", score=0.25))
    copy = Doc(NLP.vocab).from_bytes(doc.to_bytes())
    assert [ent._.padellm_score for ent in copy.ents] == [0.75, 0.25]


def test_spans_score_of_nested_mentions_that_start_together() -> None:
    doc = annotated(scored("Bank of Paris", score=0.75), scored("Bank", score=0.25))
    assert [s._.padellm_score for s in doc.spans["padellm"]] == [0.75, 0.25]


def test_spans_score_is_none_once_the_group_was_changed() -> None:
    doc = annotated(scored("Paris"))
    doc.spans["padellm"].append(doc[0:1])
    assert doc[0:1]._.padellm_score is None


# Gold


def test_spans_gold_of_an_unannotated_doc_is_none() -> None:
    assert gold_spans(NLP.make_doc(TEXT), "padellm") is None


def test_spans_gold_of_a_partly_annotated_doc_is_none() -> None:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([Span(doc, 3, 4, "LOC")], default="missing")
    assert gold_spans(doc, "padellm") is None


def test_spans_gold_of_a_doc_without_entities_is_empty() -> None:
    doc = NLP.make_doc(TEXT)
    doc.set_ents([])
    assert gold_spans(doc, "padellm") == []


def test_spans_gold_prefers_the_group() -> None:
    doc = annotated(scored("Bank of Paris"), scored("Paris", "LOC"))
    assert len(gold_spans(doc, "padellm") or []) == 2
    assert len(gold_spans(doc, "other") or []) == 1


# Promises


def keep(promise: Promise, *candidates: ScoredSpan, **settings: Any) -> Doc:
    """A Doc annotated with a promise; no mention reaches its normal threshold."""
    doc = NLP.make_doc(TEXT)
    write_mentions(
        doc,
        DocMentions(list(candidates), candidates=list(candidates)),
        spans_key="padellm",
        alignment_mode="expand",
        lowest_score=lambda label: 0.7,
        existing="overwrite",
        promise=promise,
        **settings,
    )
    return doc


def test_spans_of_a_promise_have_its_thresholds() -> None:
    spans = [scored("Bank", score=0.8), scored("Paris", score=0.2)]
    spans += [scored("closed", score=0.1), scored("The", "PER", 0.9)]
    doc = keep(Promise("recall", 0.9, 0.9, {"ORG": 0.2}), *spans)
    assert ents(doc) == [("The", "PER"), ("Bank", "ORG")]
    assert promised(doc) == [("Bank", 0.8), ("Paris", 0.2)]


def test_spans_without_a_promise_have_no_group_of_it() -> None:
    assert list(annotated(scored("Bank")).spans) == ["padellm"]


def test_spans_of_a_promise_are_calibrated() -> None:
    lowered = Calibration(offset=-1.0)
    promise = Promise("recall", 0.9, 0.9, {"ORG": lowered(0.6)})
    spans = [scored("Bank", score=0.6), scored("Paris", score=0.5)]
    doc = keep(promise, *spans, calibration=lowered)
    assert promised(doc) == [("Bank", lowered(0.6))]


def test_spans_of_a_promise_survive_a_docbin() -> None:
    doc = keep(Promise("recall", 0.9, 0.9, {"ORG": 0.2}), scored("Bank", score=0.25))
    [read] = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab)
    assert promised(read) == [("Bank", 0.25)]


# Alternatives


def test_spans_alternatives_are_those_in_the_place_of_a_mention() -> None:
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


def test_spans_alternatives_are_written_on_request_only() -> None:
    assert "alternatives" not in annotated(scored("Bank")).spans["padellm"].attrs
