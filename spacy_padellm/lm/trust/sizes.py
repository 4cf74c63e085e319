"""How large a model may be: it needs no more weights than its files hold.

transformers and peft make all layers before they look at the weights, so a model that
needs more is stopped while it is made.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from torch.nn.modules import module as hooks
from transformers import AutoModelForCausalLM

from spacy_padellm.errors import Errors

_FREE_VALUES = 100_000_000  # for buffers, and where there are few weights
_FREE_PARTS = 2000
_PARTS = 30  # parameters, buffers and modules for each tensor of a file
_TIED = 2  # tied weights are stored once
_PICKLED = 64  # bytes of a stored tensor, at least
_BITS = 8  # a stored byte holds at most this many quantized weights


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """What a model may have at most.

    values (int): Weights, and values of buffers.
    parts (int): Parameters, buffers and modules.
    """

    values: int
    parts: int

    @classmethod
    def of(cls, values: int, tensors: int) -> SizeLimits:
        """The limits for files with so many values and tensors."""
        return cls(_TIED * values + _FREE_VALUES, _PARTS * tensors + _FREE_PARTS)


# larger than any model there is
_ANY = SizeLimits(1 << 43, 1_000_000)


def size_limits(source: Path | str) -> SizeLimits:
    """Find out how large a model may be, by the headers of its weights.

    source (Path | str): The model's folder, or the folder of an adapter, or a hub name,
        for which generous limits hold.
    RETURNS (SizeLimits): The limits. A file that cannot be read counts by its size: it
        may be one that is not loaded.
    """
    if isinstance(source, str):
        return _ANY
    files = sorted(source.glob("*.safetensors"))
    if files:
        counts = [_count(file) for file in files]
        return SizeLimits.of(*map(sum, zip(*counts, strict=True)))
    pickles = list(source.glob("*.bin"))
    if not pickles:
        return _ANY  # it cannot be loaded
    size = sum(file.stat().st_size for file in pickles)
    return size_limits_of_file(size, tensors=sum(map(_count_pickled, pickles)))


def size_limits_of_file(size: int, *, tensors: int) -> SizeLimits:
    """Limit the size of a model whose weights may be quantized in any way.

    size (int): The bytes of its files.
    tensors (int): Their number of tensors.
    """
    return SizeLimits.of(_BITS * size, tensors)


def _count(file: Path) -> tuple[int, int]:
    """The number of values and of tensors that a safetensors file holds."""
    try:
        return _count_in_header(file)
    except SafetensorError:
        size = file.stat().st_size
        return _BITS * size, size // _PICKLED


def _count_in_header(file: Path) -> tuple[int, int]:
    values = tensors = 0
    with safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            tensor = weights.get_slice(name)
            bits = re.fullmatch(r"[IU](\d+)", tensor.get_dtype())
            count = int(bits[1]) if bits else 1
            for size in tensor.get_shape():
                count *= size
            values += count
            tensors += 1
    return values, tensors


def _count_pickled(file: Path) -> int:
    """The largest number of tensors that a file of torch may have; it is not run."""
    try:
        with ZipFile(file) as archive:
            return len(archive.namelist())
    except (BadZipFile, OSError, ValueError):
        return file.stat().st_size // _PICKLED


class _TooLargeError(BaseException):
    """The model needs too much; no library may catch it."""


@contextmanager
def limited(limits: SizeLimits, source: Path | str) -> Iterator[None]:
    """Stop this thread as soon as it makes a larger model than there are weights for.

    limits (SizeLimits): What the model may have.
    source (Path | str): Its folder or name, for the error message.
    RAISES (ValueError): If it needs more.
    """
    thread, values, parts = threading.get_ident(), 0, 0

    def count(module: Any, name: str, part: Any) -> None:
        nonlocal values, parts
        # weights that are read take the places of those that were made
        known = module._parameters, module._buffers, module._modules
        is_new = all(part_of.get(name) is None for part_of in known)
        if threading.get_ident() != thread or part is None or not is_new:
            return
        parts += 1
        values += part.numel() if isinstance(part, torch.Tensor) else 0
        if values > limits.values or parts > limits.parts:
            raise _TooLargeError

    dtype = torch.get_default_dtype()
    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    except _TooLargeError:
        raise ValueError(Errors.P772.format(name=source)) from None
    finally:
        # transformers changes it, and leaves it so after an error
        torch.set_default_dtype(dtype)
        for handle in handles:
            handle.remove()


def check_size(config: Any, limits: SizeLimits, source: Path | str) -> None:
    """Check that a model needs no more than there is, without memory for its weights.

    What cannot be made so is reported, or stopped, when the model is loaded.

    config (transformers.PretrainedConfig): Its config.
    limits (SizeLimits): What the model may have.
    source (Path | str): Its folder or name, for the error message.
    RAISES (ValueError): If it needs more.
    """
    with limited(limits, source), torch.device("meta"), suppress(Exception):
        config = copy.deepcopy(config)
        AutoModelForCausalLM.from_config(config, trust_remote_code=False)
