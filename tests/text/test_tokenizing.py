"""Tests of texts that the tokenizer cannot take."""

from __future__ import annotations

import pytest
import spacy
from spacy.tokens import Doc

from spacy_padellm.text.tokenizing import (
    LONGEST_WORD,
    TokenizingError,
    text_problem,
    tokenize,
)

ENDLESS = "Bob " + "(" * (LONGEST_WORD + 1)


def test_tokenizing_of_a_usual_text_is_that_of_spacy() -> None:
    nlp = spacy.blank("en")
    text = f"Bob isn't here. {'x' * LONGEST_WORD}\n"
    assert text_problem(nlp, text) is None
    assert [t.text for t in tokenize(nlp, text)] == [t.text for t in nlp(text)]
    assert text_problem(nlp, "") is None


def test_tokenizing_refuses_an_endless_word_and_a_text_too_long_for_spacy() -> None:
    nlp = spacy.blank("en")
    with pytest.raises(TokenizingError, match="10001 characters without a blank"):
        tokenize(nlp, ENDLESS)
    assert text_problem(nlp, "a (((( b", longest_word=3)
    nlp.max_length = 20
    with pytest.raises(TokenizingError, match="21 characters, but spaCy takes at most"):
        tokenize(nlp, "a " * 10 + "a")


def test_tokenizing_takes_endless_words_with_other_tokenizers() -> None:
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, text.split())
    assert len(tokenize(nlp, ENDLESS)) == 2


def test_tokenizing_error_of_any_kind_is_a_reason() -> None:
    def fails(text: str) -> Doc:
        raise KeyError("bad")

    nlp = spacy.blank("en")
    nlp.tokenizer = fails
    with pytest.raises(TokenizingError, match="tokenizer: KeyError: 'bad'"):
        tokenize(nlp, "Bob")
