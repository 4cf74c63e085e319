"""Replicas of a model on several devices, fed from one queue (PaDeLLM-Multi)."""

from __future__ import annotations

import copy
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from spacy_padellm.compat import tensor_version
from spacy_padellm.lm.devices import choose_device, on_device
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.tokens import PromptTokens

Item = TypeVar("Item")
Result = TypeVar("Result")

# items handed out before the first result is back, for each replica
_AHEAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """A model on a device, for one thread at a time.

    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt, which all replicas share.
    """

    lm: LanguageModel
    prompt: PromptTokens


@dataclass(slots=True)
class _Copies:
    """What was copied of one model.

    stamp (Any): The state of the model when it was copied.
    models (dict[torch.device, list[LanguageModel]]): The copies on each device.
    """

    stamp: Any
    models: dict[torch.device, list[LanguageModel]] = field(default_factory=dict)


_copies: weakref.WeakKeyDictionary[LanguageModel, _Copies] = weakref.WeakKeyDictionary()
_copying = threading.Lock()


def make_replicas(
    lm: LanguageModel, prompt: PromptTokens, devices: Sequence[str]
) -> list[Replica]:
    """A replica of a model on each of some devices.

    The first one on the model's own device is the model itself. The others are copies
    that are made once and kept as long as the model: until its weights change.

    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt, bound to the model's tokenizer.
    devices (Sequence[str]): Device names; one that stands twice gets two replicas. None
        at all mean the model's own device.
    RETURNS (list[Replica]): In the order of `devices`.
    RAISES (ValueError): If a device is unknown or absent.
    """
    model_device = _numbered(lm.device)
    places = [_numbered(choose_device(device)) for device in devices] or [model_device]
    if places == [model_device]:
        return [Replica(lm, prompt)]
    with _copying:
        made = _copies.get(lm)
        stamp = _stamp(lm)
        if made is None or made.stamp != stamp:
            made = _copies[lm] = _Copies(stamp)
        replicas = []
        for number, place in enumerate(places):
            model: LanguageModel | None = None
            if place == model_device and model_device not in places[:number]:
                model = lm
            else:
                nth = places[:number].count(place) - (place == model_device)
                models = made.models.setdefault(place, [])
                if nth == len(models):
                    models.append(_copy(lm, place))
                model = models[nth]
            replicas.append(Replica(model, prompt))
    return replicas


def spread(
    replicas: Sequence[Replica],
    items: Iterable[Item],
    work: Callable[[Replica, Item], Result],
) -> Iterator[Result]:
    """Work on items, each with whichever replica is free first.

    With one replica it all happens in the caller's thread, an item at a time; with
    more, `work` runs in threads, a few items ahead of the results that are taken.

    replicas (Sequence[Replica]): At least one.
    items (Iterable[Item]): Taken in the caller's thread.
    work (Callable[[Replica, Item], Result]): What to do.
    YIELDS (Result): In the order of the items.
    RAISES (Exception): What `work` raised, in the place of the item's result.
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
    """A device by its number, so that "cuda" equals "cuda:0" where it is that."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _stamp(lm: LanguageModel) -> tuple[Any, ...]:
    """Tells one state of a model's weights and tokenizer from another."""
    weights = lm.model.parameters()
    versions = [(p.data_ptr(), tensor_version(p)) for p in weights]
    return (id(lm.model), len(lm.tokenizer), tuple(versions))


def _copy(lm: LanguageModel, device: torch.device) -> LanguageModel:
    """Copy a model to a device, each tensor at once; the tokenizer is shared."""
    moved: dict[int, Any] = {id(lm.tokenizer): lm.tokenizer}
    for tensor in chain(lm.model.parameters(), lm.model.buffers()):
        there = tensor.detach().to(device, copy=True)
        if isinstance(tensor, torch.nn.Parameter):
            there = torch.nn.Parameter(there, requires_grad=False)
        moved[id(tensor)] = there
    return copy.deepcopy(lm, moved)
