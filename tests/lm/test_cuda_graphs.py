from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from conftest import CONFIGS, LABELS, LIMITS, ManyCounts, make_lm, random_texts, same
from hypothesis import given, settings, strategies as st

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.tree import decoder as tree
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.cuda_graphs import (
    GraphRunner,
    Run,
    borrow_graph_runner,
)
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")


def again(run: Run) -> Run:
    """What a graph does, but without one: the same work on the same memory."""
    return run


def lend(monkeypatch: pytest.MonkeyPatch, runner: GraphRunner) -> None:
    @contextmanager
    def borrow(lm: LanguageModel) -> Iterator[GraphRunner]:
        yield runner

    monkeypatch.setattr(tree, "borrow_graph_runner", borrow)


def prepare(kind: str) -> tuple[LanguageModel, PromptTokens]:
    lm = make_lm(kind)
    return lm, ManyCounts(PRESETS["compact"], lm.tokenizer)


def one_by_one(
    lm: LanguageModel, prompt: PromptTokens, texts: list[str], **options: Any
) -> list[Any]:
    decoder = TreeDecoder(**LIMITS, **options)
    return [decode(decoder, lm, prompt, [text], LABELS)[0] for text in texts]


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_cuda_graphs_read_what_others_read(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, prompt = prepare(kind)
    runs: list[Run] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    # short ones after long ones: what is left of those must not be seen
    texts = random_texts(seed=3, count=12)
    texts += [" ".join(texts[:3]), texts[0]]
    wanted = one_by_one(lm, prompt, texts)
    assert sum(map(len, wanted)) > 20
    assert not runs
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), wanted)
    assert runs


def test_cuda_graphs_capture_a_shape_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, prompt = prepare("llama")
    runs: list[Run] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    texts = random_texts(seed=3, count=12)
    one_by_one(lm, prompt, texts, cuda_graphs=True)
    count = len(runs)
    one_by_one(lm, prompt, texts, cuda_graphs=True)
    assert 1 < len(runs) == count


def test_cuda_graphs_leave_streams_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, prompt = prepare("llama")
    runs: list[Run] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    texts = random_texts(seed=4, count=9)
    decoder = TreeDecoder(**LIMITS, cuda_graphs=True, max_batch_tokens=100)
    found = decode(decoder, lm, prompt, texts, LABELS)
    assert same(found, one_by_one(lm, prompt, texts))
    assert not runs


def test_cuda_graphs_that_cannot_be_captured_are_read_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: Run) -> Run:
        raise RuntimeError("operation not permitted when stream is capturing")

    lm, prompt = prepare("llama")
    runner = GraphRunner(lm, fail)
    lend(monkeypatch, runner)
    texts = random_texts(seed=5, count=3)
    wanted = one_by_one(lm, prompt, texts)
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), wanted)
    assert "cannot be captured as a CUDA graph: operation not" in caplog.text
    assert not runner.enabled


def test_cuda_graphs_nan_of_one_text_spares_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, prompt = prepare("llama")
    lend(monkeypatch, GraphRunner(lm, again))
    bad, good = random_texts(seed=6, count=2)
    wanted = one_by_one(lm, prompt, [good])
    layer = lm.model.model.layers[0].mlp.down_proj
    with torch.no_grad():
        kept = layer.weight.clone()
        layer.weight.fill_(float("nan"))
        with pytest.raises(ValueError, match="NaN"):
            one_by_one(lm, prompt, [bad], cuda_graphs=True)
        layer.weight.copy_(kept)
    assert same(one_by_one(lm, prompt, [good], cuda_graphs=True), wanted)


def test_cuda_graphs_are_not_lent_on_a_cpu() -> None:
    with borrow_graph_runner(make_lm("llama")) as runner:
        assert runner is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=3))
def test_cuda_graphs_read_any_texts(texts: list[str]) -> None:
    lm, prompt = prepare("llama")
    with pytest.MonkeyPatch.context() as monkeypatch:
        lend(monkeypatch, GraphRunner(lm, again))
        wanted = one_by_one(lm, prompt, texts)
        assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_cuda_graphs_on_cuda_graphs_read_what_others_read(
    kind: str, dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    lm, prompt = prepare(kind)
    lm.model.to("cuda", dtype)
    texts = random_texts(seed=3, count=12)
    texts += [" ".join(texts[:3]), texts[0]]
    wanted = one_by_one(lm, prompt, texts)
    for _ in range(2):  # captured, then replayed
        found = one_by_one(lm, prompt, texts, cuda_graphs=True)
        if dtype == torch.float32:
            assert same(found, wanted)
    assert "cannot be captured" not in caplog.text
