"""torch's attention by cuDNN is switched off once, when a model comes to a GPU."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import LABELS, LIMITS, make_lm, on_cuda, prepare
from pretended_gpu import PretendedGPUs

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.replicas import make_replicas
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.devices import cudnn
from spacy_padellm.lm.devices.cudnn import switch_off_cudnn_attention
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.handle.trainable import place_for_training
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.prompt.template import PRESETS

pytestmark = pytest.mark.usefixtures("quiet")
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What cuDNN's attention was set to in a process without models."""
    calls: list[bool] = []
    monkeypatch.setattr(cudnn, "_switched_off", False)
    monkeypatch.setattr(
        torch.backends.cuda, "enable_cudnn_sdp", calls.append, raising=False
    )
    return calls


def by_loading(lm: LanguageModel, folder: str) -> None:
    load_model(folder, device=GPU)


def by_a_map(lm: LanguageModel, folder: str) -> None:
    pytest.importorskip("accelerate")
    load_model(folder, device_map={"model": 0, "lm_head": 1})


def by_replicas(lm: LanguageModel, folder: str) -> None:
    make_replicas(lm, lm.tokens_of(PRESETS["compact"]), ["cpu", "cuda:1"])


def by_training(lm: LanguageModel, folder: str) -> None:
    place_for_training(lm, ModelSource(name=folder, device="cuda"))


def by_hand(lm: LanguageModel, folder: str) -> None:
    lm.model.to("cuda")
    prompt = lm.tokens_of(PRESETS["compact"])
    decode(TreeDecoder(**LIMITS), lm, prompt, ["Ada met Bob"], LABELS)


WAYS = [by_loading, by_a_map, by_replicas, by_training, by_hand]


@pytest.mark.parametrize("way", WAYS)
def test_cudnn_is_switched_off_however_a_model_comes_to_a_gpu(
    way: Callable[[LanguageModel, str], None],
    calls: list[bool],
    gpus: PretendedGPUs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # transformers 5 loads in threads, in which no GPUs are pretended
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    way(lm, str(tmp_path))
    assert calls == [False]


def test_cudnn_is_left_alone_on_a_cpu(calls: list[bool]) -> None:
    lm, prompt = prepare("llama", "compact")
    copies = copy.deepcopy(lm), pickle.loads(pickle.dumps(lm))
    decode(TreeDecoder(**LIMITS), copies[0], prompt, ["Ada met Bob"], LABELS)
    switch_off_cudnn_attention(CPU)
    assert calls == []


def test_cudnn_that_a_user_switched_on_is_kept(
    calls: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="spacy_padellm")
    for _ in range(3):
        switch_off_cudnn_attention(GPU)
    assert calls == [False]
    assert caplog.text.count("enable_cudnn_sdp(True)") == 1


def test_cudnn_of_a_torch_without_the_switch_is_no_error(
    calls: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.backends.cuda, "enable_cudnn_sdp")
    switch_off_cudnn_attention(GPU)
    assert calls == []


@on_cuda
def test_cudnn_on_cuda_is_off_after_loading(tmp_path: Path) -> None:
    cudnn._switched_off = False
    torch.backends.cuda.enable_cudnn_sdp(True)
    lm = make_lm("llama")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    load_model(str(tmp_path), device=GPU)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
