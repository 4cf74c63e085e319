"""Replicas of a model on several devices, fed from one queue (PaDeLLM-Multi)."""

from __future__ import annotations

import copy
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from spacy_padellm.compat.torch import tensor_version
from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.choose import choose_device, on_device
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.quantization.compute import is_quantized
from spacy_padellm.locks import make_lock
from spacy_padellm.prompt.tokens import PromptTokens

Item = TypeVar("Item")
Result = TypeVar("Result")

# items per replica that are submitted before the first result is needed
_AHEAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """A model on a device, for one thread at a time.

    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt, which all replicas share.
    """

    lm: LanguageModel
    prompt: PromptTokens

    def bind(self, job: DecodeJob) -> DecodeJob:
        """The same job with this replica's model.

        job (DecodeJob): The job.
        """
        return replace(job, lm=self.lm)


@dataclass(slots=True)
class _Copies:
    """The copies of one model.

    stamp (Any): The state of the model when it was copied.
    models (dict[torch.device, list[LanguageModel]]): The copies on each device.
    """

    stamp: Any
    models: dict[torch.device, list[LanguageModel]] = field(default_factory=dict)

    def model(self, lm: LanguageModel, device: torch.device, nth: int) -> LanguageModel:
        """The nth copy on a device, from 0; made if it is missing."""
        models = self.models.setdefault(device, [])
        if nth == len(models):
            models.append(_copy(lm, device))
        return models[nth]


_copies: weakref.WeakKeyDictionary[LanguageModel, _Copies] = weakref.WeakKeyDictionary()
_copying = make_lock()


def make_replicas(
    lm: LanguageModel, prompt: PromptTokens, devices: Sequence[str]
) -> list[Replica]:
    """Make replicas of a model on devices.

    The first replica on the model's own device is the model itself. The others are
    copies. They are made once and kept until the model or its weights change.

    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt, bound to the model's tokenizer.
    devices (Sequence[str]): Device names. A device that is listed twice gets two
        replicas. An empty list means the model's own device.
    RETURNS (list[Replica]): In the order of `devices`.
    RAISES (ValueError): If a device is unknown or not available, or the model is on
        several already.
    """
    if devices and lm.shares:
        raise ValueError(Errors.P885.format(devices=list(devices)))
    home = _numbered(lm.device)
    targets = [_numbered(choose_device(device)) for device in devices] or [home]
    if targets == [home]:
        return [Replica(lm, prompt)]
    with _copying, lm.lock:  # a training step may be changing the weights
        copies = _copies.get(lm)
        stamp = _stamp(lm)
        if copies is None or copies.stamp != stamp:
            copies = _copies[lm] = _Copies(stamp)
        replicas = []
        for number, device in enumerate(targets):
            nth = targets[:number].count(device)
            if device == home and nth == 0:
                model = lm
            else:
                model = copies.model(lm, device, nth - (device == home))
            replicas.append(Replica(model, prompt))
    return replicas


def map_on_replicas(
    replicas: Sequence[Replica],
    items: Iterable[Item],
    work: Callable[[Replica, Item], Result],
) -> Iterator[Result]:
    """Process items, each on the first replica that is free.

    With one replica, all work is done in the caller's thread, one item at a time. With
    more, `work` runs in threads, a few items ahead of the results that are taken.

    replicas (Sequence[Replica]): At least one.
    items (Iterable[Item]): Taken in the caller's thread.
    work (Callable[[Replica, Item], Result]): Processes an item.
    YIELDS (Result): In the order of the items.
    RAISES (Exception): An error of `work`, when it is the item's turn.
    """
    if len(replicas) == 1:
        for item in items:
            with on_device(replicas[0].lm.device):
                result = work(replicas[0], item)
            yield result
        return
    idle: SimpleQueue[Replica] = SimpleQueue()
    for replica in replicas:
        idle.put(replica)

    def run(item: Item) -> Result:
        replica = idle.get()
        try:
            with on_device(replica.lm.device):
                return work(replica, item)
        finally:
            idle.put(replica)

    pool = ThreadPoolExecutor(len(replicas), thread_name_prefix="padellm")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(run, item))
            while waiting and (
                waiting[0].done() or len(waiting) >= _AHEAD * len(replicas)
            ):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _numbered(device: torch.device) -> torch.device:
    """A device with its number, so that "cuda" equals "cuda:0" if that is current."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _stamp(lm: LanguageModel) -> tuple[Any, ...]:
    """Identify the current state of a model's weights and tokenizer."""
    weights = lm.model.parameters()
    versions = [(p.data_ptr(), tensor_version(p)) for p in weights]
    return (id(lm.model), len(lm.tokenizer), tuple(versions))


def _copy(lm: LanguageModel, device: torch.device) -> LanguageModel:
    """Copy a model tensor by tensor: its own device never holds it twice.

    The tokenizer is shared.
    """
    if is_quantized(lm.model):
        return lm.copied(device)
    moved: dict[int, Any] = {id(lm.tokenizer): lm.tokenizer}
    for tensor in chain(lm.model.parameters(), lm.model.buffers()):
        copied = tensor.detach().to(device, copy=True)
        if isinstance(tensor, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, requires_grad=False)
        moved[id(tensor)] = copied
    return copy.deepcopy(lm, moved)
