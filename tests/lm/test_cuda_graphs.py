from __future__ import annotations

import gc
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import (
    CONFIGS,
    LABELS,
    LIMITS,
    ManyCounts,
    make_lm,
    on_cuda,
    random_texts,
    same,
)
from hypothesis import given, settings, strategies as st

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree import decoder as tree
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.errors import logger
from spacy_padellm.lm.cuda_graphs import (
    GraphCapture,
    GraphRunner,
    Replay,
    borrow_graph_runner,
)
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")


def again(run: Replay) -> Replay:
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
def test_cuda_graphs_equal_passes_without_graphs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, prompt = prepare(kind)
    runs: list[Replay] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    # short ones after long ones: what is left of those must not be seen
    texts = random_texts(seed=3, count=12)
    texts += [" ".join(texts[:3]), texts[0]]
    expected = one_by_one(lm, prompt, texts)
    assert sum(map(len, expected)) > 20
    assert not runs
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert runs


def test_cuda_graphs_capture_a_shape_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, prompt = prepare("llama")
    runs: list[Replay] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    texts = random_texts(seed=3, count=12)
    one_by_one(lm, prompt, texts, cuda_graphs=True)
    count = len(runs)
    one_by_one(lm, prompt, texts, cuda_graphs=True)
    assert 1 < len(runs) == count


def test_cuda_graphs_leave_streams_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, prompt = prepare("llama")
    runs: list[Replay] = []
    lend(monkeypatch, GraphRunner(lm, lambda run: runs.append(run) or run))
    texts = random_texts(seed=4, count=9)
    decoder = TreeDecoder(**LIMITS, cuda_graphs=True, max_batch_tokens=1000)
    found = decode(decoder, lm, prompt, texts, LABELS)
    assert same(found, one_by_one(lm, prompt, texts))
    assert not runs


def test_cuda_graphs_that_cannot_be_captured_are_read_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: Replay) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing")

    lm, prompt = prepare("llama")
    runner = GraphRunner(lm, fail)
    lend(monkeypatch, runner)
    texts = random_texts(seed=5, count=3)
    expected = one_by_one(lm, prompt, texts)
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert "cannot be captured as a CUDA graph: operation not" in caplog.text
    assert not runner.enabled


def test_cuda_graphs_without_memory_for_a_capture_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: Replay) -> Replay:
        raise torch.OutOfMemoryError("CUDA out of memory")

    lm, prompt = prepare("llama")
    texts = random_texts(seed=5, count=3)
    expected = one_by_one(lm, prompt, texts)
    lend(monkeypatch, GraphRunner(lm, fail))
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert "There was no memory on cpu" in caplog.text


def test_cuda_graphs_give_their_memory_back_where_there_is_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def capture(run: Replay) -> Replay:
        if runner._runs:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run

    lm, prompt = prepare("llama")
    texts = random_texts(seed=5, count=3)
    runner = GraphRunner(lm, capture)
    lend(monkeypatch, runner)
    one_by_one(lm, prompt, texts[:1], cuda_graphs=True)
    assert not runner._runs
    assert not runner._inputs
    assert runner._cache.slots == 0
    # and can be used again
    runner._capture = again
    expected = one_by_one(lm, prompt, texts)
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert runner._runs


def test_cuda_graphs_nan_of_one_text_spares_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, prompt = prepare("llama")
    lend(monkeypatch, GraphRunner(lm, again))
    bad, good = random_texts(seed=6, count=2)
    expected = one_by_one(lm, prompt, [good])
    layer = lm.model.model.layers[0].mlp.down_proj
    with torch.no_grad():
        kept = layer.weight.clone()
        layer.weight.fill_(float("nan"))
        with pytest.raises(ValueError, match="NaN"):
            one_by_one(lm, prompt, [bad], cuda_graphs=True)
        layer.weight.copy_(kept)
    assert same(one_by_one(lm, prompt, [good], cuda_graphs=True), expected)


def test_cuda_graphs_are_not_lent_on_a_cpu() -> None:
    with borrow_graph_runner(make_lm("llama")) as runner:
        assert runner is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=3))
def test_cuda_graphs_read_any_texts(texts: list[str]) -> None:
    lm, prompt = prepare("llama")
    with pytest.MonkeyPatch.context() as monkeypatch:
        lend(monkeypatch, GraphRunner(lm, again))
        expected = one_by_one(lm, prompt, texts)
        assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)


class FakeCuda:
    """Notes captures on GPUs that are not there.

    graphs (list[tuple[str, object]]): The device of the stream and the memory pool of
        each capture.
    at_once (int): Most captures at the same time.
    """

    def __init__(self) -> None:
        self.graphs: list[tuple[str, object]] = []
        self.at_once = self._now = 0
        self._lock = threading.Lock()

    class Stream:
        def __init__(self, device: Any = "cuda:9") -> None:
            self.device = str(device)

        def wait_stream(self, other: Any) -> None:
            pass

    class CUDAGraph:
        memory: Any = None

        def pool(self) -> Any:
            return self.memory

        def replay(self) -> None:
            pass

    @contextmanager
    def graph(
        self, graph: Any, *, pool: Any, stream: Any, capture_error_mode: str
    ) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        time.sleep(0.01)
        graph.memory = object() if pool is None else pool
        self.graphs.append((stream.device, graph.memory))
        yield
        with self._lock:
            self._now -= 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name, value in {
        "Stream": FakeCuda.Stream,
        "CUDAGraph": FakeCuda.CUDAGraph,
        "graph": fake.graph,
        "current_stream": FakeCuda.Stream,
        "stream": lambda stream: nullcontext(),
        "device": lambda device: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


def nothing() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(0), torch.zeros(0)


def test_cuda_graphs_are_captured_on_their_own_device(fake: FakeCuda) -> None:
    for device in ("cuda:0", "cuda:1"):
        GraphCapture(torch.device(device))(nothing)
    assert [device for device, _ in fake.graphs] == ["cuda:0", "cuda:1"]


def test_cuda_graphs_of_a_model_share_memory_while_one_is_kept(fake: FakeCuda) -> None:
    capture = GraphCapture(torch.device("cuda:0"))
    kept = [capture(nothing), capture(nothing)]
    kept.clear()
    kept += [capture(nothing), capture(nothing)]
    pools = [pool for _, pool in fake.graphs]
    assert pools[0] is pools[1]
    assert pools[2] is pools[3]
    assert pools[1] is not pools[2]


def test_cuda_graphs_that_fail_give_the_stream_back(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = ["own"]

    @contextmanager
    def stream(chosen: Any) -> Iterator[None]:
        before, streams[0] = streams[0], chosen
        try:
            yield
        finally:
            streams[0] = before

    @contextmanager
    def graph(*args: Any, **options: Any) -> Iterator[None]:
        streams[0] = "of captures"  # torch does not restore it when a capture fails
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    current = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RuntimeError, match="during capture"):
        GraphCapture(torch.device("cuda:0"))(nothing)
    assert streams == ["own"]


def test_cuda_graphs_are_captured_one_at_a_time(fake: FakeCuda) -> None:
    captures = [GraphCapture(torch.device("cuda:0")) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda capture: capture(nothing), captures))
    assert len(fake.graphs) == 4
    assert fake.at_once == 1


def test_cuda_graphs_that_fail_are_not_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries = []

    def fail(run: Replay) -> Replay:
        tries.append(run)
        raise RuntimeError("operation not permitted when stream is capturing")

    lm, prompt = prepare("llama")
    runner = GraphRunner(lm, fail)
    with pytest.MonkeyPatch.context() as monkeypatch:
        lend(monkeypatch, runner)
        one_by_one(lm, prompt, random_texts(seed=5, count=3), cuda_graphs=True)
    assert len(runner._inputs) > 1  # shapes
    assert not runner._runs
    assert len(tries) == 1
    (record,) = [r for r in caplog.records if "CUDA graph" in r.message]
    assert record.exc_info is not None


def replayed(run: Replay) -> Replay:
    """A graph keeps the results of a run, but not the function."""
    output = run()
    return lambda: output


def failing(run: Replay) -> Replay:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("capture", [replayed, failing])
def test_cuda_graphs_go_with_their_model_at_once(
    capture: Callable[[Replay], Replay], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, prompt = prepare("llama")
    lm.cuda_graphs = GraphRunner(lm, capture)
    gone = weakref.ref(lm.cuda_graphs)
    with monkeypatch.context() as patch:
        lend(patch, lm.cuda_graphs)
        # pytest would keep the record, and with it the frames of the error
        patch.setattr(logger, "disabled", True)
        one_by_one(lm, prompt, random_texts(seed=5, count=1), cuda_graphs=True)
    gc.collect()
    gc.disable()
    try:
        del lm
        assert gone() is None
    finally:
        gc.enable()


def captured(lm: LanguageModel) -> int:
    """How many passes of a model were captured."""
    runner = lm.cuda_graphs.runner
    assert runner.enabled
    return len(runner._runs)


@on_cuda
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_cuda_graphs_on_cuda_equal_passes_without_graphs(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lm, prompt = prepare(kind)
    lm.model.to("cuda")
    texts = random_texts(seed=3, count=12)
    texts += [" ".join(texts[:3]), texts[0]]
    expected = one_by_one(lm, prompt, texts)
    assert lm.cuda_graphs is None
    for _ in range(2):  # captured, then replayed
        assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert captured(lm) > 1
    assert "cannot be captured" not in caplog.text


@on_cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_cuda_graphs_on_cuda_scores_of_low_precision_are_close(
    kind: str, dtype: torch.dtype
) -> None:
    lm = make_lm(kind)
    prompt = PromptTokens(PRESETS["compact"], lm.tokenizer)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(0.05)  # else next tokens are sure
    lm.model.to("cuda", dtype)
    texts = random_texts(seed=3, count=6)
    gold = {text: {"PER": text.split()[:2]} for text in texts}
    forced = ForcedOutputs(prompt, gold)
    for _ in range(2):
        for text in texts:
            expected, found = (
                decode(decoder, lm, prompt, [text], LABELS, forced=forced)[0]
                for decoder in (TreeDecoder(), TreeDecoder(cuda_graphs=True))
            )
            assert [m.text for m in found] == gold[text]["PER"]
            scores = [math.log(m.score) for m in expected]
            assert [math.log(m.score) for m in found] == pytest.approx(scores, abs=0.2)
    assert captured(lm) > 1


@on_cuda
def test_cuda_graphs_on_cuda_two_models_are_captured_in_turn() -> None:
    models = [prepare("llama"), prepare("qwen3")]
    texts = random_texts(seed=8, count=6)
    expected = []
    for lm, prompt in models:
        lm.model.to("cuda")
        expected.append(one_by_one(lm, prompt, texts))
    for number, text in enumerate(texts * 2):
        for (lm, prompt), results in zip(models, expected, strict=True):
            found = one_by_one(lm, prompt, [text], cuda_graphs=True)
            assert same(found, [results[number % len(texts)]])
    assert all(captured(lm) > 1 for lm, _ in models)


@on_cuda
def test_cuda_graphs_on_cuda_follow_a_training_step() -> None:
    lm, prompt = prepare("llama")
    lm.model.to("cuda")
    texts = random_texts(seed=9, count=4)
    before = one_by_one(lm, prompt, texts, cuda_graphs=True)
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.mul_(1.1)
    expected = one_by_one(lm, prompt, texts)
    assert expected != before
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert captured(lm) > 1


@on_cuda
def test_cuda_graphs_on_cuda_of_a_model_that_waits_leave_the_stream_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = prepare("llama")
    lm.fused_layers = False
    lm.model.to("cuda")
    texts = random_texts(seed=10, count=3)
    expected = one_by_one(lm, prompt, texts)
    layer = lm.model.model.layers[0]
    layer.register_forward_pre_hook(lambda module, args: float(args[0].sum()) and None)
    stream = torch.cuda.current_stream()
    assert same(one_by_one(lm, prompt, texts, cuda_graphs=True), expected)
    assert torch.cuda.current_stream() == stream
    assert not lm.cuda_graphs.runner.enabled
    assert "cannot be captured as a CUDA graph" in caplog.text
