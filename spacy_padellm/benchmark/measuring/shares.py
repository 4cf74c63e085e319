"""Where the time goes: products, attention, other operations, tokenizer, Python."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from spacy_padellm.lm.language_model import LanguageModel

_TOKENIZER = "tokenizer"
_PRODUCTS = ("mm", "linear", "matmul")
_ATTENTION = ("attention", "softmax")


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the time that texts take; their sum is 1.

    products (float): Matrix products, most of them in the linear layers.
    attention (float): Attention kernels.
    elementwise (float): All other operations of torch: norms, activations, copies.
    tokenizer (float): The tokenizer.
    python (float): Everything else, and waiting.
    """

    products: float
    attention: float
    elementwise: float
    tokenizer: float
    python: float


def measure_shares(
    run: Callable[[Any], object], texts: Sequence[Any], lm: LanguageModel
) -> Shares:
    """Run texts with torch's profiler, which makes them slower by a few percent.

    On CUDA, the time of operations is that of their kernels: `python` is the time in
    which the device waits.

    run (Callable[[Any], object]): Annotates one element of `texts`. It must have been
        run before.
    texts (Sequence[Any]): What to run.
    lm (LanguageModel): The model that is used.
    RETURNS (Shares): The shares of all texts together.
    """
    cuda = lm.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    gc.collect()  # a full collection, which is rare, would take most of a short time
    with _marked(lm.tokenizer), profile(activities=activities) as profiled:
        start = time.perf_counter()
        for text in texts:
            run(text)
        if cuda:
            torch.cuda.synchronize(lm.device)
        whole = time.perf_counter() - start
    seconds = dict.fromkeys(("products", "attention", "elementwise", _TOKENIZER), 0.0)
    for event in profiled.key_averages():
        # kernels: their time is also that of the operations that started them
        if event.device_type != DeviceType.CPU:
            continue
        marked = event.key == _TOKENIZER
        micro = (
            event.self_device_time_total
            if cuda and not marked
            else event.self_cpu_time_total
        )
        seconds[_kind(event.key)] += micro / 1e6
    # kernels that overlap could be longer than the whole
    whole = max(whole, sum(seconds.values()))
    shares = {kind: value / whole for kind, value in seconds.items()}
    return Shares(**shares, python=1 - sum(shares.values()))


def _kind(key: str) -> str:
    """The kind of an operation."""
    if key == _TOKENIZER:
        return _TOKENIZER
    name = key.lower()
    if any(part in name for part in _ATTENTION):
        return "attention"
    if any(part in name for part in _PRODUCTS):
        return "products"
    return "elementwise"


@contextmanager
def _marked(tokenizer: Any) -> Iterator[None]:
    """Let the profiler see the calls of a tokenizer."""
    kind = type(tokenizer)
    call = kind.__call__

    def marked(*args: Any, **options: Any) -> Any:
        with record_function(_TOKENIZER):
            return call(*args, **options)

    with patch.object(kind, "__call__", marked):
        yield
