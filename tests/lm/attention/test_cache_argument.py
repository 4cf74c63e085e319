"""The argument that takes the KV cache has another name from transformers 5.24 on."""

from __future__ import annotations

from typing import Any

import torch
from conftest import make_lm
from transformers import DynamicCache

from spacy_padellm.lm.attention.cache_argument import CACHE_ARGUMENT, cache_argument

IDS = torch.tensor([[5, 6, 7, 8]])


def test_cache_argument_of_forward_fills_the_cache() -> None:
    model = make_lm("qwen3").model
    cache = DynamicCache()
    with torch.inference_mode():
        model(input_ids=IDS, use_cache=True, **{cache_argument(model): cache})
    assert cache.get_seq_length() == IDS.shape[1]


def test_cache_argument_of_generate_is_read() -> None:
    lm = make_lm("qwen3")
    settings = {"max_new_tokens": 3, "do_sample": False}
    settings["pad_token_id"] = lm.tokenizer.eos_token_id
    cache = DynamicCache()
    with torch.inference_mode():
        lm.fill(cache, input_ids=IDS[:, :-1])
        read: dict[str, Any] = {CACHE_ARGUMENT: cache}
        expected = lm.model.generate(
            IDS, attention_mask=torch.ones_like(IDS), **settings
        )
        found = lm.model.generate(
            IDS, attention_mask=torch.ones_like(IDS), **settings, **read
        )
    assert cache.get_seq_length() >= IDS.shape[1]
    assert torch.equal(found, expected)


class OwnCode:
    """A model with code of its own, written for an older transformers."""

    def forward(self, input_ids: Any, past_key_values: Any = None) -> None: ...


class Wrapper:
    """A model that hands its arguments on, as peft's do."""

    def forward(self, *args: Any, **kwargs: Any) -> None: ...


def test_cache_argument_of_older_code_keeps_its_name() -> None:
    assert cache_argument(OwnCode()) == "past_key_values"


def test_cache_argument_of_a_wrapper_is_that_of_transformers() -> None:
    assert cache_argument(Wrapper()) == CACHE_ARGUMENT
