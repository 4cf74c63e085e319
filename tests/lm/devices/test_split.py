"""Models that are loaded to several GPUs, which are pretended."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, prepare, random_texts, same
from pretended_gpu import PretendedGPUs

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model

pytestmark = pytest.mark.usefixtures("quiet")
CPU = torch.device("cpu")
TEXTS = random_texts(seed=7, count=4)
LLAMA = {
    "model.embed_tokens": 0,
    "model.rotary_emb": 1,
    "model.layers.0": 0,
    "model.layers.1": "cuda:1",
    "model.norm": 1,
    "lm_head": 1,
}
GPT2 = {
    "transformer.wte": 0,
    "transformer.wpe": 1,
    "transformer.h.0": 0,
    "transformer.h.1": 1,
    "transformer.ln_f": 1,
    "lm_head": 0,  # its weight is that of the embedding
}
MAPS: dict[str, tuple[str, Any]] = {
    "llama": ("llama", LLAMA),
    "gpt2": ("gpt2", GPT2),
    "gemma": ("gemma", {**LLAMA, "lm_head": 0}),
    "auto": ("llama", "auto"),
    "auto, tied": ("gpt2", "auto"),
    "sequential": ("llama", "sequential"),
}


@pytest.fixture
def make_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[LanguageModel], str]:
    # transformers 5 loads in threads, in which no GPUs are pretended
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")

    def save(lm: LanguageModel) -> str:
        lm.model.save_pretrained(tmp_path)
        lm.tokenizer.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


@pytest.mark.parametrize("case", MAPS)
def test_split_loaded_model_finds_what_it_finds_on_one_device(
    case: str, gpus: PretendedGPUs, make_folder: Callable[[LanguageModel], str]
) -> None:
    kind, device_map = MAPS[case]
    lm, prompt = prepare(kind, "compact")
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert any(expected)
    found = load_model(make_folder(lm), device_map=device_map)
    devices = {str(device) for device in found.shares}
    assert devices == (set() if case == "sequential" else {"cuda:0", "cuda:1"})
    assert sum(found.shares.values()) == pytest.approx(1 if found.shares else 0)
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        assert same(decode(decoder, found, prompt, TEXTS, LABELS), expected)
    other = copy.deepcopy(found)
    assert same(decode(TreeDecoder(**LIMITS), other, prompt, TEXTS, LABELS), expected)
