"""A pass without memory costs no other text its result."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, ManyCounts, make_lm, on_cuda, random_texts, same

from spacy_padellm.decoding.base import DecodeJob, DecodeResult
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.tree.packing import PackedBatch

pytestmark = pytest.mark.usefixtures("quiet")
TEXTS = random_texts(seed=11, count=14)
LONG = " ".join(TEXTS * 3)
Fails = Callable[[PackedBatch], bool]


def lacking(
    monkeypatch: pytest.MonkeyPatch, fails: Fails, error: Exception | None = None
) -> list[int]:
    """Let passes fail; returns the list of the tokens of those that do not."""
    sizes: list[int] = []
    read = LanguageModel.packed_logits

    def run(self: LanguageModel, packed: PackedBatch, *args: Any, **kw: Any) -> Any:
        if fails(packed):
            raise error or torch.OutOfMemoryError("CUDA out of memory. 20 GiB")
        sizes.append(len(packed.ids))
        return read(self, packed, *args, **kw)

    monkeypatch.setattr(LanguageModel, "packed_logits", run)
    return sizes


@cache
def model(device: str) -> LanguageModel:
    """A model whose trees were tried, which takes passes as well."""
    lm = make_lm("llama")
    assert not why_no_tree(lm, 0)
    lm.model.to(device)
    return lm


def results(
    texts: list[str], device: str = "cpu", **settings: Any
) -> list[DecodeResult]:
    lm = model(device)
    prompt = ManyCounts(PRESETS["compact"], lm.tokenizer)
    decoder = TreeDecoder(**{**LIMITS, **settings})
    return list(decoder.stream(DecodeJob(prompt, LABELS, lm), texts))


def most_tokens_alone(texts: list[str]) -> int:
    """The tokens of the largest pass of texts that are decoded one by one."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        sizes = lacking(monkeypatch, lambda packed: False)
        for text in texts:
            results([text])
    return max(sizes)


@pytest.mark.parametrize("devices", [(), ("cpu", "cpu")])
def test_tree_memory_that_lacks_for_a_batch_is_enough_for_its_texts(
    devices: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = results(TEXTS)
    assert any(expected)
    most = most_tokens_alone(TEXTS)
    sizes = lacking(monkeypatch, lambda packed: len(packed.ids) > most)
    assert same(results(TEXTS, devices=devices), expected)
    assert max(sizes) <= most
    assert "There was no memory on cpu for a forward pass" in caplog.text


def test_tree_memory_that_lacks_for_one_text_is_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = results(TEXTS)
    most = most_tokens_alone(TEXTS)
    lacking(monkeypatch, lambda packed: len(packed.ids) > most)
    found = results([*TEXTS[:3], LONG, *TEXTS[3:]])
    error = found.pop(3)
    assert same(found, expected)
    assert isinstance(error, ValueError)
    message = r"no memory on cpu .* even alone \(CUDA out of memory. 20 GiB\)"
    with pytest.raises(ValueError, match=message):
        raise error


@pytest.mark.parametrize("nth", range(5))
def test_tree_memory_that_lacks_once_changes_neither_results_nor_warnings(
    nth: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        found = [r.message for r in caplog.records if "max_mention" in r.message]
        caplog.clear()
        return found

    limits = {"max_mention_tokens": 2, "max_mentions": 1}
    expected, said = results(TEXTS, **limits), warnings()
    assert len(said) == 2
    passes = iter(range(1000))
    lacking(monkeypatch, lambda packed: next(passes) == nth)
    assert same(results(TEXTS, **limits), expected)
    assert warnings() == said


def test_tree_memory_passes_become_smaller_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = TEXTS * 8
    expected = results(texts, max_batch_tokens=800)
    sizes = lacking(monkeypatch, lambda packed: len(packed.ids) > 400)
    assert same(results(texts, max_batch_tokens=800), expected)
    assert 200 < max(sizes) <= 400


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling it"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("device-side assert triggered"), False),
    ],
)
def test_tree_memory_is_told_from_other_errors(
    error: Exception, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = results(TEXTS)
    passes = iter(range(1000))
    lacking(monkeypatch, lambda packed: next(passes) == 1, error)
    if again:
        assert same(results(TEXTS), expected)
    else:
        with pytest.raises(RuntimeError, match="device-side"):
            results(TEXTS)


@on_cuda
def test_tree_memory_on_cuda_that_lacks_once_changes_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(packed: PackedBatch) -> bool:
        if next(passes) == 1:
            torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
        return False

    expected = results(TEXTS, "cuda")
    passes = iter(range(1000))
    lacking(monkeypatch, fails)
    assert same(results(TEXTS, "cuda"), expected)
