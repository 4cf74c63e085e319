"""Passes over one text's tree in shapes that come again, to be captured once.

On a GPU a pass of few tokens is done sooner than Python has launched its kernels. A
CUDA graph launches them all at once, but does the same with the same memory each time:
so tokens, slots and logits are padded to few sizes, and the inputs and the cache stay
where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.lm.attention import AttentionBlock, attention_of
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch

MOST_TOKENS = 512  # of a first pass; larger ones keep a GPU busy as they are
_LEAST_TOKENS = 16
_LEAST_SLOTS = 256

# logits, and what all tokens give the vocabulary projection
Output = tuple[torch.Tensor, torch.Tensor]
Run = Callable[[], Output]


class GraphShape(NamedTuple):
    """Sizes that a pass is padded to: its tokens, slots and logits."""

    tokens: int
    slots: int
    logits: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a pass of one shape is given, at the same place each time.

    numbers (int64, (3 * tokens + logits,)): Token ids, positions,
        slot_mapping, logit_positions.
    visible (bool, (tokens, slots)): Which slots each token attends to.
    """

    numbers: torch.Tensor
    visible: torch.Tensor


class GraphRunner:
    """Reads passes over one tree at a time, each shape captured at its first pass."""

    def __init__(self, lm: LanguageModel, capture: Callable[[Run], Run]) -> None:
        """Prepare, without memory yet.

        lm (LanguageModel): The model.
        capture (Callable[[Run], Run]): Given a function without arguments, gives one
            that does the same again with what stands in its inputs by then.
        """
        self.enabled = True  # until a capture fails
        self._lm = lm
        self._capture = capture
        self._cache = TreeKVCache()
        self._inputs: dict[GraphShape, _Inputs] = {}
        self._runs: dict[GraphShape, Run] = {}

    @staticmethod
    def fits(packed: PackedBatch) -> bool:
        """Whether a text whose first pass this is shall be read here."""
        return len(packed.starts) == 1 and len(packed.ids) <= MOST_TOKENS

    def read(
        self,
        packed: PackedBatch,
        logit_positions: Sequence[int],
        *,
        tag_positions: Sequence[int] = (),
        tag_ids: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LanguageModel.read`; the cache is our own."""
        shape = GraphShape(
            _up(len(packed.ids), _LEAST_TOKENS),
            _up(packed.used[1], _LEAST_SLOTS),
            _up(len(logit_positions), _LEAST_TOKENS, step=4),
        )
        device = self._lm.device
        tagged = [
            torch.tensor(numbers, dtype=torch.long, device=device)
            for numbers in (tag_positions, tag_ids)
        ]
        with self._lm.lock:
            if shape.slots >= self._cache.slots:
                # what was captured wrote to the cache before
                self._runs.clear()
                # the last slot takes what padding writes
                self._cache.reserve(1, shape.slots + 1)
            self._fill(shape, packed, logit_positions)
            logits, hidden = self._run(shape)()
            return logits[: len(logit_positions)], self._lm.project(hidden, *tagged)

    def clear(self) -> None:
        """Forget the texts read before."""
        self._cache.clear(0, self._cache.slots)

    def _run(self, shape: GraphShape) -> Run:
        """What reads a pass of a shape."""
        run = self._runs.get(shape)
        if run is None:
            run = partial(self._forward, shape)
            try:
                run = self._capture(run)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # of this text it is still right, if slow
                logger.warning(Warnings.W194.format(error=error))
                self.enabled = False
            self._runs[shape] = run
        return run

    def _fill(
        self, shape: GraphShape, packed: PackedBatch, logit_positions: Sequence[int]
    ) -> None:
        """Write a pass to the inputs of its shape."""
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
        visible[count:, 0] = True  # or padding would see nothing
        inputs.numbers.copy_(torch.from_numpy(numbers))
        inputs.visible.copy_(torch.from_numpy(visible))

    def _forward(self, shape: GraphShape) -> Output:
        lm, inputs = self._lm, self._inputs[shape]
        *tokens, logit_positions = inputs.numbers.split(
            [shape.tokens] * 3 + [shape.logits]
        )
        ids, positions, slot_mapping = tokens
        mask = additive_mask(inputs.visible, lm.dtype)[None, None]
        block = AttentionBlock(slice(0, 1), slice(0, shape.tokens), *shape[:2], mask)
        # one that needs no work: attention has its own masks
        none = mask.new_zeros(1, 1, 1, 1)
        with attention_of(lm.model.config, [block], self._cache, slot_mapping):
            return lm.forward(ids[None], positions[None], none, logit_positions)


def capture_graph(run: Run) -> Run:
    """Capture a function on the current CUDA device as a CUDA graph.

    run (Run): Works on memory that stays where it is.
    RETURNS (Run): Does the same again; its results are overwritten each time.
    RAISES (RuntimeError): If the function does what cannot be captured.
    """
    # what is made at the first call must not be captured
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # other threads go on with models of their own
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = run()

    def replay() -> Output:
        graph.replay()
        return output

    return replay


@dataclass(slots=True)
class _Kept:
    """The passes of a model, while its weights stay where they are."""

    weights: tuple[int, ...]  # addresses
    runner: GraphRunner
    busy: threading.Lock


@contextmanager
def borrow_graph_runner(lm: LanguageModel) -> Iterator[GraphRunner | None]:
    """The captured passes of a model, for one text at a time.

    lm (LanguageModel): The model.
    YIELDS (GraphRunner | None): None if there are none: on a CPU, in training, while
        another thread has them, or if the model cannot be captured.
    """
    model = lm.model
    if lm.device.type != "cuda" or lm.autocast_dtype is not None or model.training:
        yield None
        return
    weights = tuple(parameter.data_ptr() for parameter in model.parameters())
    # kept by the model, whose memory would not be freed if anything else held both
    kept: _Kept | None = lm.cuda_graphs
    if kept is None or kept.weights != weights:
        runner = GraphRunner(lm, capture_graph)
        kept = lm.cuda_graphs = _Kept(weights, runner, threading.Lock())
    if not (kept.runner.enabled and kept.busy.acquire(blocking=False)):
        yield None
        return
    try:
        yield kept.runner
    finally:
        kept.busy.release()


def _up(number: int, least: int, *, step: int = 2) -> int:
    """The first of least, least * step, least * step**2, ... that is enough."""
    while least < number:
        least *= step
    return least
