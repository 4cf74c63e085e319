"""Tokenizers learnt from texts: words and Han characters read alike everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from spacy_padellm.lm.small_model import learn_tokenizer

ENGLISH = ["Paris is in France .", "They saw Paris and Rome .", "Rome is old ."] * 4
CHINESE = ["张三在北京", "北京很大", "张三去北京"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return learn_tokenizer([*ENGLISH, *CHINESE], vocab_size=400, special_tokens=["<a>"])


def test_small_model_word_is_the_same_token_at_the_start(tokenizer: Any) -> None:
    (alone,) = tokenizer("Paris")["input_ids"]
    assert alone in tokenizer("They saw Paris and Rome .")["input_ids"]


def test_small_model_han_text_starts_without_a_blank(tokenizer: Any) -> None:
    assert tokenizer.tokenize("北京很大")[:2] == tokenizer.tokenize("张三在北京")[3:]


@pytest.mark.parametrize("text", ["Paris is", "北京 is", '"Rome" 北京', "a\n北京"])
def test_small_model_decoding_gives_the_text_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]).strip() == text
