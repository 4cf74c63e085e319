from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from spacy_padellm.decoding.tree.pass_size import pass_tokens, slot_bytes

LLAMA_7B = LlamaConfig()


def lm_of(config: Any, device: str = "cuda") -> Any:
    model = SimpleNamespace(config=config)
    return SimpleNamespace(
        model=model, device=torch.device(device), dtype=torch.bfloat16, shares={}
    )


def test_pass_size_counts_keys_and_values_of_all_layers() -> None:
    assert slot_bytes(lm_of(LLAMA_7B)) == 2 * 32 * 4096 * 2
    shared = LlamaConfig(num_key_value_heads=8)
    assert slot_bytes(lm_of(shared)) == 2 * 32 * 8 * 128 * 2
    assert slot_bytes(lm_of(GPT2Config())) == 2 * 12 * 768 * 2


@pytest.mark.parametrize(
    ("free", "tokens"), [(64 << 30, 8192), (1 << 30, 1024), (1 << 50, 16_384)]
)
def test_pass_size_follows_the_free_memory_of_a_gpu(
    free: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 50))
    assert pass_tokens(lm_of(LLAMA_7B)) == tokens


def test_pass_size_counts_memory_that_torch_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 << 30, 1 << 50))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10 << 30)
    assert pass_tokens(lm_of(LLAMA_7B)) == 8192


def test_pass_size_of_a_split_model_follows_the_tightest_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = torch.device("cuda:0"), torch.device("cuda:1")
    free = {first: 64 << 30, second: 16 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 0))
    lm = lm_of(LLAMA_7B)
    lm.shares = {first: 0.5, second: 0.5}
    assert pass_tokens(lm) == 4096
    lm.shares = {first: 0.75, second: 0.25}
    assert pass_tokens(lm) == 8192


def test_pass_size_of_a_cpu_is_small() -> None:
    assert pass_tokens(lm_of(LLAMA_7B, "cpu")) == 1024
