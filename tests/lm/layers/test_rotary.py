from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from spacy_padellm.lm.layers.rotary import Rotary

SCALINGS: dict[str, Any] = {
    "default": None,
    "linear": {"rope_type": "linear", "factor": 2.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


def make_module(scaling: str) -> LlamaRotaryEmbedding:
    return LlamaRotaryEmbedding(
        LlamaConfig(
            hidden_size=32,
            num_attention_heads=4,
            max_position_embeddings=128,
            rope_scaling=SCALINGS[scaling],
        )
    )


@pytest.mark.parametrize("scaling", SCALINGS)
def test_rotary_factors_equal_those_of_the_module(scaling: str) -> None:
    module, rotary = make_module(scaling), Rotary(make_module(scaling))
    # long after short, then short again; dtypes change, too
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        for positions in ([0, 2, 1], [5, 600, 7], [3]):
            x, ids = torch.zeros(1, dtype=dtype), torch.tensor(positions)
            cos, sin = rotary(x, ids)
            expected_cos, expected_sin = module(x[None], ids[None])
            assert torch.equal(cos[:, 0], expected_cos[0])
            assert torch.equal(sin[:, 0].abs(), expected_sin[0].abs())
            assert torch.equal(sin[:, 0, :4], -expected_sin[0, :, :4])
            assert torch.equal(sin[:, 0, 4:], expected_sin[0, :, 4:])


def test_rotary_factors_of_inference_can_be_used_in_training() -> None:
    rotary, x = Rotary(make_module("default")), torch.zeros(1)
    with torch.inference_mode():
        rotary(x, torch.arange(3))
    cos, _ = rotary(x, torch.arange(3))
    weight = torch.ones(8, requires_grad=True)
    (weight * cos).sum().backward()
    assert weight.grad is not None
