"""Texts that are too long for a tree: tokens see, or count, only so many others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, ManyCounts, make_lm, same
from transformers import (
    AutoModelForCausalLM,
    Llama4TextConfig,
    MistralConfig,
    Phi3Config,
    Qwen3Config,
)

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.prompt.template import PRESETS

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [1.0, 8.0, 20.0, 60.0],
}
LLAMA_4 = {
    "intermediate_size_mlp": 48,
    "head_dim": 8,
    "num_local_experts": 2,
    "attention_chunk_size": 48,
}
WINDOW = {"sliding_window": 48}


def make(kind: type[Any], **settings: Any) -> LanguageModel:
    """A small random model of a kind."""
    tokenizer = make_lm("llama").tokenizer
    config = kind(vocab_size=len(tokenizer), **SIZES, **settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model.eval(), tokenizer)


def longrope() -> LanguageModel:
    """As Phi-3-mini-128k: from 48 tokens on, positions turn by other angles."""
    return make(Phi3Config, rope_scaling=LONGROPE, original_max_position_embeddings=48)


@pytest.mark.parametrize(
    ("lm", "setting"),
    [
        (lambda: make(MistralConfig, **WINDOW), "sliding_window"),
        (longrope, "original_max_position_embeddings"),
        (lambda: make(Llama4TextConfig, **LLAMA_4), "attention_chunk_size"),
    ],
)
def test_tree_support_ends_with_what_the_model_sees(lm: Any, setting: str) -> None:
    model = lm()
    assert why_no_tree(model, 48) == ""
    assert f"49 tokens is longer than the model's {setting} of 48" in (
        why_no_tree(model, 49)
    )


def test_tree_support_has_no_end_where_a_setting_is_not_used() -> None:
    settings = {**WINDOW, "use_sliding_window": False, "attention_chunk_size": 48}
    kinds = {"layer_types": ["full_attention"] * 2}
    lm = make(Qwen3Config, **settings, **kinds, original_max_position_embeddings=48)
    assert why_no_tree(lm, 1000) == ""


def test_tree_support_of_longrope_gives_what_separate_sequences_give() -> None:
    lm = longrope()
    prompt = ManyCounts(PRESETS["paper-en"], lm.tokenizer)
    texts = ["Berlin", "Berlin " * 50]
    expected = [
        decode(BatchDecoder(**LIMITS), lm, prompt, [text], LABELS)[0] for text in texts
    ]
    assert all(expected)
    assert same(decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS), expected)
