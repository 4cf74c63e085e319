"""Normalization of texts for the model."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from helpers import DOC_SPANS, GOLD, LABELS, TEXT, gold_doc, initialised, trained
from hypothesis import given, strategies as st
from spacy.training import Example

from spacy_padellm.text.normalize import normalize_text, normalized_offset

NAME = "padellm_ner"
WRAPPED = "Anna  Smith\r\nmet Bob\u00a0in Paris ."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TEXT, TEXT),
        (WRAPPED, TEXT),
        (" a\tb\n", " a b "),
        (normalize("NFD", "Zoë"), "Zoë"),
        ("北\u3000京", "北 京"),
    ],
)
def test_normalize_has_single_spaces_and_composed_characters(
    text: str, wanted: str
) -> None:
    assert normalize_text(text) == wanted


@given(st.text(st.sampled_from("aë \n\t\u00a0北e\u0308"), max_size=30))
def test_normalize_twice_changes_nothing(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@given(
    st.lists(st.sampled_from(["ab", "Zoe\u0308", "北"])), st.sampled_from(" \n\u00a0")
)
def test_normalize_words_keep_their_offsets(words: list[str], space: str) -> None:
    text = (space * 2).join(words)
    at = 0
    for word in words:
        first, last = (
            normalized_offset(text, at),
            normalized_offset(text, at + len(word)),
        )
        assert normalize_text(text)[first:last] == normalize_text(word)
        at += len(word) + 2


def test_normalize_entities_do_not_depend_on_spaces() -> None:
    nlp = trained(span_getter=DOC_SPANS)
    plain, wrapped = nlp(TEXT), nlp(WRAPPED)
    assert [ent.label_ for ent in wrapped.ents] == [ent.label_ for ent in plain.ents]
    assert [ent.text for ent in wrapped.ents] == ["Anna  Smith", "Bob", "Paris"]
    assert wrapped.spans["padellm"].attrs["statuses"][0] == "normalised"


def test_normalize_training_does_not_depend_on_spaces() -> None:
    losses = []
    for text, first in ((TEXT, "Anna Smith"), (WRAPPED, "Anna  Smith")):
        prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"}
        nlp = initialised(
            labels=LABELS,
            span_getter=DOC_SPANS,
            prompt={**prompt, "prefix_lm": True},
            training={"@misc": "spacy-padellm.Training.v1", "tag_loss": 1.0},
        )
        mentions = [(first, "PER"), *GOLD[TEXT][1:]]
        example = Example(nlp.make_doc(text), gold_doc(nlp, text, mentions))
        losses.append(nlp.update([example])[NAME])
    assert losses[0] == losses[1]
