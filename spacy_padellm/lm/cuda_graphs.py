"""Forward passes over a single text's tree, captured as CUDA graphs.

On a GPU, a forward pass over few tokens takes less time than Python needs to launch its
kernels. A CUDA graph launches all kernels at once, but always with the same shapes and
the same memory. So tokens, slots and logits are padded to a few sizes, and the inputs
and the KV cache keep their addresses.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.lm.attention.packed import AttentionBlock, PackedAttention
from spacy_padellm.lm.devices.choose import on_device
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.vocabulary import project
from spacy_padellm.locks import make_lock
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch

MOST_TOKENS = 512  # of a first pass; larger passes keep a GPU busy without a graph
_LEAST_TOKENS = 16
_LEAST_SLOTS = 256

# torch allows one capture at a time in a process
_capturing = make_lock()

# logits, and the last hidden states of all tokens
GraphOutput = tuple[torch.Tensor, torch.Tensor]
Replay = Callable[[], GraphOutput]


class GraphShape(NamedTuple):
    """The sizes that a pass is padded to: numbers of tokens, slots and logits."""

    tokens: int
    slots: int
    logits: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a pass of one shape, at the same address each time.

    numbers (int64, (3 * tokens + logits,)): Token ids, positions,
        slot_mapping, logit_positions.
    visible (bool, (tokens, slots)): Which slots each token attends to.
    """

    numbers: torch.Tensor
    visible: torch.Tensor


class GraphRunner:
    """Runs passes over one tree at a time; each shape is captured at its first pass."""

    def __init__(self, lm: LanguageModel, capture: Callable[[Replay], Replay]) -> None:
        """Prepare to capture passes; memory is allocated at the first pass.

        lm (LanguageModel): The model.
        capture (Callable[[Replay], Replay]): Turns a function without arguments into
            one that repeats it on the same memory, such as `GraphCapture`.
        """
        self.enabled = True  # until a capture fails
        self._model = weakref.ref(lm)  # the model keeps its runner
        self._capture = capture
        self._cache = TreeKVCache()
        self._inputs: dict[GraphShape, _Inputs] = {}
        self._runs: dict[GraphShape, Replay] = {}

    @property
    def _lm(self) -> LanguageModel:
        lm = self._model()
        assert lm is not None
        return lm

    @staticmethod
    def fits(packed: PackedBatch) -> bool:
        """Whether a text should be decoded here, judged by its first pass.

        packed (PackedBatch): Its first pass.
        """
        return len(packed.starts) == 1 and len(packed.ids) <= MOST_TOKENS

    def packed_logits(
        self,
        packed: PackedBatch,
        logit_positions: Sequence[int],
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LanguageModel.packed_logits`; the runner has its own KV cache."""
        shape = GraphShape(
            _round_up(len(packed.ids), _LEAST_TOKENS),
            _round_up(packed.used[1], _LEAST_SLOTS),
            _round_up(len(logit_positions), _LEAST_TOKENS, step=4),
        )
        tagged = upload([tag_positions, tag_ids], self._lm.device)
        with self._lm.lock:
            # captured passes are those of evaluation
            self._lm.set_training(False)
            if shape.slots >= self._cache.slots:
                # captured passes write to the old cache
                self._runs.clear()
                # padding writes to the last slot
                self._cache.reserve(1, shape.slots + 1)
            self._fill(shape, packed, logit_positions)
            logits, hidden = self._run(shape)()
            tag_logits = project(self._lm.model, hidden, *tagged)
            return logits[: len(logit_positions)], tag_logits

    def clear(self) -> None:
        """Clear the cache of earlier texts."""
        self._cache.clear(0, self._cache.slots)

    def free(self) -> None:
        """Forget all passes, inputs and keys, and with them their memory."""
        self._runs.clear()
        self._inputs.clear()
        self._cache = TreeKVCache()

    def _run(self, shape: GraphShape) -> Replay:
        """Get the function that runs a pass of a shape."""
        if shape in self._runs:
            return self._runs[shape]
        run = partial(self._forward, shape)
        if self.enabled:
            try:
                self._runs[shape] = self._capture(run)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # this text's passes still run, without graphs
                logger.warning(Warnings.W194.format(error=error), exc_info=error)
                self.enabled = False
        # a run that is not captured is not kept: it holds the runner
        return self._runs.get(shape, run)

    def _fill(
        self, shape: GraphShape, packed: PackedBatch, logit_positions: Sequence[int]
    ) -> None:
        """Copy a pass into the inputs of its shape."""
        if shape not in self._inputs:
            device = self._lm.device
            size = 3 * shape.tokens + shape.logits
            self._inputs[shape] = _Inputs(
                torch.zeros(size, dtype=torch.long, device=device),
                torch.zeros(shape[:2], dtype=torch.bool, device=device),
            )
        inputs = self._inputs[shape]
        numbers = np.zeros(len(inputs.numbers), dtype=np.int64)
        ids, positions, slot_mapping = numbers[: 3 * shape.tokens].reshape(
            3, shape.tokens
        )
        count = len(packed.ids)
        ids[:count], positions[:count] = packed.ids, packed.positions
        slot_mapping[:count], slot_mapping[count:] = packed.slots, self._cache.slots - 1
        numbers[3 * shape.tokens :][: len(logit_positions)] = logit_positions
        visible = np.zeros(shape[:2], dtype=np.bool_)
        (group,) = packed.groups
        visible[:count, : group.slots] = group.visible[0]
        visible[count:, 0] = True  # a softmax over no slot would be NaN
        inputs.numbers.copy_(send(torch.from_numpy(numbers), inputs.numbers.device))
        inputs.visible.copy_(send(torch.from_numpy(visible), inputs.visible.device))

    def _forward(self, shape: GraphShape) -> GraphOutput:
        lm, inputs = self._lm, self._inputs[shape]
        *tokens, logit_positions = inputs.numbers.split(
            [shape.tokens] * 3 + [shape.logits]
        )
        ids, positions, slot_mapping = tokens
        mask = additive_mask(inputs.visible, lm.dtype)[None, None]
        block = AttentionBlock(slice(0, 1), slice(0, shape.tokens), *shape[:2], mask)
        attention = PackedAttention(self._cache, slot_mapping, [block])
        return lm.packed_forward(ids, positions, attention, logit_positions)


class GraphCapture:
    """Captures functions on a device as CUDA graphs, which share their memory.

    So only one of the graphs may run at a time, and the results of one must be used
    before the next one runs.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepare to capture functions.

        device (torch.device): The device. Torch's own stream for captures stays on the
            device of the first one: a graph of another device would hold nothing.
        """
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    def __call__(self, run: Replay) -> Replay:
        """Capture a function as a CUDA graph.

        run (Replay): The function. All its inputs keep their addresses.
        RETURNS (Replay): Repeats the function; each call overwrites the results of the
            last.
        RAISES (RuntimeError): If the function cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        with _capturing, on_device(self._device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            # work done only at the first call must not be captured
            with torch.cuda.stream(self._stream):
                run()
            current.wait_stream(self._stream)
            # the memory of graphs that are gone cannot be shared
            others = list(self._graphs)
            # a capture that fails leaves the thread on its stream
            with (
                torch.cuda.stream(current),
                torch.cuda.graph(
                    graph,
                    pool=others[0].pool() if others else None,
                    stream=self._stream,
                    # other threads may go on running other models
                    capture_error_mode="thread_local",
                ),
            ):
                output = run()
        self._graphs.add(graph)

        def replay() -> GraphOutput:
            with on_device(self._device):
                graph.replay()
            return output

        return replay


@dataclass(slots=True)
class _KeptRunner:
    """The captured passes of a model, valid while its weights keep their addresses."""

    weights: tuple[int, ...]
    runner: GraphRunner
    busy: threading.Lock


@contextmanager
def borrow_graph_runner(lm: LanguageModel) -> Iterator[GraphRunner | None]:
    """Borrow the captured passes of a model, for one text at a time.

    lm (LanguageModel): The model.
    YIELDS (GraphRunner | None): None on a CPU and on several GPUs, while another thread
        has borrowed the runner, and if the model cannot be captured.
    """
    if lm.device.type != "cuda" or lm.shares:
        yield None
        return
    weights = tuple(parameter.data_ptr() for parameter in lm.model.parameters())
    # kept in the model itself, so that both are freed together
    kept: _KeptRunner | None = lm.cuda_graphs
    if kept is None or kept.weights != weights:
        runner = GraphRunner(lm, GraphCapture(lm.device))
        kept = lm.cuda_graphs = _KeptRunner(weights, runner, threading.Lock())
    if not (kept.runner.enabled and kept.busy.acquire(blocking=False)):
        yield None
        return
    try:
        yield kept.runner
    finally:
        kept.busy.release()


def _round_up(number: int, least: int, *, step: int = 2) -> int:
    """Round up to one of least, least * step, least * step**2, ..."""
    while least < number:
        least *= step
    return least
