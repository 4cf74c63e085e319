"""device = "auto" and spaCy's GPU settings."""

from __future__ import annotations

import sys

import pytest
import torch
from helpers import SMALL, make_nlp, pipe_of

from spacy_padellm.training import device as module
from spacy_padellm.training.device import resolve_device


@pytest.fixture(autouse=True)
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_cupy_gpu", False)
    monkeypatch.setattr(sys, "argv", ["script.py"])


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_cupy_gpu", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    module._warn_of_unused_gpu.cache_clear()


def use_gpu(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As after `spacy.require_gpu(number)`."""
    current = torch.device("cuda", number)
    monkeypatch.setattr(module, "get_torch_default_device", lambda: current)


def test_device_auto_is_left_to_torch() -> None:
    assert resolve_device("auto") == "auto"


@pytest.mark.usefixtures("cupy")
def test_device_auto_with_cupy_is_the_cpu_by_default() -> None:
    assert resolve_device("auto") == "cpu"


@pytest.mark.usefixtures("cupy")
def test_device_gpu_that_spacy_does_not_use_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        resolve_device("auto")
    assert caplog.text.count("Call spacy.prefer_gpu()") == 1


@pytest.mark.usefixtures("cupy")
def test_device_auto_with_cupy_is_spacys_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    use_gpu(monkeypatch, 1)
    assert resolve_device("auto") == "cuda:1"


def test_device_auto_with_cupy_but_torch_without_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "has_cupy_gpu", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "auto"


@pytest.mark.parametrize("program", ["/bin/spacy", "/lib/spacy/__main__.py"])
@pytest.mark.parametrize(
    "args", [["--gpu-id", "-1"], ["--gpu-id=-1"], ["-g", "-1"], ["-g-1"]]
)
def test_device_auto_is_the_cpu_with_gpu_id_of_minus_1(
    monkeypatch: pytest.MonkeyPatch, program: str, args: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "train", "train.cfg", *args, "-V"])
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["/bin/spacy", "train", "train.cfg"],
        ["/bin/spacy", "train", "train.cfg", "--gpu-id", "0"],
        ["/bin/spacy", "train", "train.cfg", "--training.patience", "-1"],
        ["script.py", "-g", "-1"],
    ],
)
def test_device_auto_is_left_to_torch_with_other_arguments(
    monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert resolve_device("auto") == "auto"


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_device_named_is_unchanged(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    use_gpu(monkeypatch, 0)
    assert resolve_device(device) == device


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("architecture", ["CausalLM", "SmallCausalLM"])
def test_device_is_resolved_by_the_architectures(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    use_gpu(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    model = {"@architectures": f"spacy-padellm.{architecture}.v1", "device": "auto"}
    nlp = make_nlp(model={**SMALL, **model} if "Small" in architecture else model)
    assert pipe_of(nlp).handle.source.device == "cuda:1"
    assert nlp.config["components"]["padellm_ner"]["model"]["device"] == "auto"
