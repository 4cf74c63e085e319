"""A vocabulary of the tokens that texts use (scripts/trim_vocabulary.py)."""

from __future__ import annotations

import json
from typing import Any

import torch
from conftest import make_lm
from tokenizers import Tokenizer
from trim_vocabulary import (
    choose_tokens,
    count_tokens,
    trim_model,
    trim_state,
)

TEXTS = ["Angela Merkel met Emmanuel Macron .", "Paris and Berlin"]


def trimmed(size: int) -> tuple[Any, Any, Tokenizer, Tokenizer]:
    """A model before and after, and its tokenizers."""
    lm, small = make_lm("llama"), make_lm("llama")
    for model in (lm.model, small.model):
        model.config.tie_word_embeddings = True  # as SmolLM2's
        model.tie_weights()
    state = json.loads(lm.tokenizer.backend_tokenizer.to_str())
    whole = Tokenizer.from_str(json.dumps(state))
    tokens = choose_tokens(state, count_tokens(whole, TEXTS * 99), size)
    trim_model(small.model, state, tokens)
    return (
        lm.model,
        small.model,
        whole,
        Tokenizer.from_str(json.dumps(trim_state(state, tokens))),
    )


def test_trim_vocabulary_used_tokens_stay() -> None:
    *_, whole, small = trimmed(300)
    assert small.get_vocab_size() < whole.get_vocab_size()
    for text in TEXTS:
        assert small.encode(text).tokens == whole.encode(text).tokens


def test_trim_vocabulary_any_text_can_still_be_written() -> None:
    *_, small = trimmed(270)
    text = "zebra Ünïcode 日本 42"
    assert small.decode(small.encode(text).ids) == text


def test_trim_vocabulary_kept_tokens_have_their_embeddings() -> None:
    before, after, whole, small = trimmed(300)
    ids = [torch.tensor([t.encode(TEXTS[0]).ids]) for t in (whole, small)]
    found, expected = after(ids[1]).logits, before(ids[0]).logits
    kept = range(small.get_vocab_size())
    columns = [whole.token_to_id(small.id_to_token(token)) for token in kept]
    torch.testing.assert_close(found[..., list(kept)], expected[..., columns])
