"""Gold spans, and the scores of predicted ones."""

from __future__ import annotations

import pytest
from spacy.tokens import Doc, DocBin, Span, SpanGroup
from span_helpers import NLP, TEXT, annotated, scored

from spacy_padellm.text.moved import move_spans
from spacy_padellm.text.spans import gold_spans

# Scores


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


def test_spans_gold_mention_with_two_ids_is_one() -> None:
    doc = NLP.make_doc(TEXT)
    doc.spans["padellm"] = [Span(doc, 1, 2, "ORG", span_id=name) for name in "ab"]
    assert len(gold_spans(doc, "padellm") or []) == 1


PARIS = scored("Paris", "LOC", 0.25)
BANK = scored("Bank of Paris", score=0.75)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spacy_padellm.text.spans._warned", set())


def stored(doc: Doc) -> Doc:
    """A Doc as it comes from a corpus."""
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return next(DocBin().from_bytes(data).get_docs(NLP.vocab))


@pytest.mark.usefixtures("warned")
@pytest.mark.parametrize("correction", ["removed", "added", "renamed", "missing"])
def test_spans_gold_entities_that_were_corrected_are_told_once(
    correction: str, caplog: pytest.LogCaptureFixture
) -> None:
    doc = annotated(BANK, PARIS)
    bank = Span(doc, 1, 4, "FAC" if correction == "renamed" else "ORG")
    added = [Span(doc, 4, 5, "MISC")] if correction == "added" else []
    if correction == "missing":
        doc.set_ents([], missing=[doc[0:4]], default="outside")
    else:
        doc.set_ents([] if correction == "removed" else [bank, *added])
    for _ in range(2):
        assert len(gold_spans(stored(doc), "padellm") or []) == 2
    (record,) = caplog.records
    assert "taken from doc.spans['padellm']" in record.getMessage()
    assert "del doc.spans['padellm']" in record.getMessage()


@pytest.mark.usefixtures("warned")
@pytest.mark.parametrize(
    "change", ["none", "merged", "group", "kept", "kept_alike", "other_component"]
)
def test_spans_gold_entities_that_nobody_is_known_to_have_corrected_are_not_told(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    doc = NLP.make_doc(TEXT)
    if change == "kept":  # by another component
        doc.set_ents([Span(doc, 3, 4, "CITY")])
    existing = "keep" if change.startswith("kept") else "overwrite"
    annotated(BANK, PARIS, doc=doc, existing=existing)
    if change == "merged":
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[1:4])
        move_spans(doc)
    elif change == "group":
        doc.spans["padellm"] = [Span(doc, 3, 4, "LOC")]
    elif change == "other_component":
        annotated(scored("closed", "EVENT"), doc=doc, spans_key="second")
    gold_spans(stored(doc), "padellm")
    assert not caplog.records


@pytest.mark.usefixtures("warned")
def test_spans_gold_corrections_are_told_where_nothing_had_to_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doc = annotated(BANK, PARIS, existing="keep")
    doc.set_ents([])
    gold_spans(stored(doc), "padellm")
    assert len(caplog.records) == 1
