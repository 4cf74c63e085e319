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


@pytest.mark.parametrize(
    "word",
    [
        "x" * LONGEST_WORD,
        "x" * 100_000,
        "他在北京工作，我在上海。" * 2_000,
        "สวัสดี" * 5_000,
        "." * 100_000,
        "((" + "a.b,c/d-" * 5_000 + "))",
    ],
)
@pytest.mark.parametrize("lang", ["en", "xx"])
def test_tokenizing_of_words_that_take_no_time_is_that_of_spacy(
    word: str, lang: str
) -> None:
    nlp = spacy.blank(lang)
    text = f"Bob isn't here. {word}\n"
    assert text_problem(nlp, text) is None
    assert [t.text for t in tokenize(nlp, text)] == [t.text for t in nlp(text)]


@pytest.mark.parametrize("word", ["x:" * 10_000, "a:@" * 5_000])
def test_tokenizing_of_many_colons_is_refused_where_words_shall_be_short(
    word: str,
) -> None:
    nlp = spacy.blank("en")
    assert text_problem(nlp, word) is None
    assert text_problem(nlp, word, longest_word=LONGEST_WORD // 10) is not None
    short = word[: LONGEST_WORD // 10]
    assert text_problem(nlp, short, longest_word=LONGEST_WORD // 10) is None


def test_tokenizing_takes_a_text_of_nothing() -> None:
    assert text_problem(spacy.blank("en"), "") is None


@pytest.mark.parametrize(
    "word",
    [
        "(" * (LONGEST_WORD + 1),
        "a" * LONGEST_WORD + ")" * 101,
        "a" * LONGEST_WORD + "'s" * 101,
        "US$" * LONGEST_WORD,
        '{"a":"b"}' * 15_000,
    ],
)
def test_tokenizing_refuses_words_that_take_the_square_of_their_length(
    word: str,
) -> None:
    problem = text_problem(spacy.blank("en"), f"Bob met {word}")
    assert problem is not None
    assert problem.startswith(f"the text has {len(word)} characters without a blank")


def test_tokenizing_fails_before_an_endless_word_is_split() -> None:
    nlp = spacy.blank("en")
    with pytest.raises(TokenizingError, match="10001 characters without a blank"):
        tokenize(nlp, ENDLESS)
    assert text_problem(nlp, f"a {'(' * 101} b", longest_word=100)


def test_tokenizing_fails_for_a_text_too_long_for_spacy() -> None:
    nlp = spacy.blank("en")
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
