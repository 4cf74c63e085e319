"""The component's memory of a document."""

from __future__ import annotations

import pytest
from helpers import make_nlp, pipe_of, trained
from spacy.tokens import Doc

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.doc_mentions import DocMentions

TEXT = "Kofi left . Then Kofi came back ."


def annotated(*, document_memory: bool) -> Doc:
    nlp = trained(document_memory=document_memory, threshold=0.4)
    doc = nlp.make_doc(TEXT)
    sure = ScoredSpan(0, 4, "PER", 0.9, "exact")
    unsure = ScoredSpan(17, 21, "PER", 0.2, "exact")
    pipe_of(nlp).set_annotations([doc], [DocMentions([sure, unsure])])
    return doc


@pytest.mark.parametrize("on", [True, False])
def test_pipe_document_memory_finds_the_names_of_a_doc_again(on: bool) -> None:
    ents = [(ent.start, ent.text) for ent in annotated(document_memory=on).ents]
    assert ents == [(0, "Kofi"), (4, "Kofi")][: 2 if on else 1]


def test_pipe_document_memory_is_in_the_scores() -> None:
    first, second = annotated(document_memory=True).ents
    assert second._.padellm_score == pytest.approx((first._.padellm_score + 0.2) / 2)


@pytest.mark.parametrize(
    ("dedup", "labels"), [("on", ["PER"]), ("off", ["ORG", "PER"])]
)
def test_pipe_document_memory_gives_a_span_two_labels_only_without_dedup(
    dedup: str, labels: list[str]
) -> None:
    nlp = trained(threshold=0.4, dedup=dedup)
    doc = nlp.make_doc("Kofi left . Then Kofi came back , and Kofi sang .")
    spans = [
        ScoredSpan(0, 4, "PER", 0.9, "exact"),
        ScoredSpan(17, 21, "ORG", 0.8, "exact"),
        ScoredSpan(38, 42, "PER", 0.2, "exact"),
        ScoredSpan(38, 42, "ORG", 0.2, "exact"),
    ]
    pipe_of(nlp).set_annotations([doc], [DocMentions(spans)])
    last = [span.label_ for span in doc.spans["padellm"] if span.start_char == 38]
    assert last == labels


def test_pipe_document_memory_that_is_no_flag_is_an_error() -> None:
    with pytest.raises(ValueError, match="'document_memory' of component"):
        make_nlp(document_memory="yes")
