"""Errors for models that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from spacy_padellm.compat.tokenizers import is_panic
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap
from spacy_padellm.lm.files.bundled import NAMES

# words of transformers and accelerate for GPUs without room, and for wrong maps
_NO_ROOM = ("on the CPU or the disk", "offload", "device disk")
_MISFIT = ("device_map", "have any device set")
# words of a lack of memory: of torch on a CPU, of cuBLAS and its like, and of CUDA
_NO_MEMORY = ("can't allocate memory", "ALLOC_FAILED", "CUDA error: out of memory")


@contextmanager
def as_load_errors(
    source: Path | str,
    *,
    device_map: DeviceMap | None = None,
    broken: str | None = None,
) -> Iterator[None]:
    """Replace the many errors of loading by a few messages.

    source (Path | str): The model's folder, its GGUF file, or its hub name.
    device_map (DeviceMap | None): The setting, if weights are loaded with it.
    broken (str | None): The message for most errors; None for that of a folder or of
        the hub.
    RAISES (ValueError): If the code inside the block fails.
    """
    try:
        yield
    except BaseException as error:
        if is_out_of_memory(error):
            message = Errors.P708.format(name=source, error=words_of(error))
            raise ValueError(message) from error
        # transformers and peft raise any kind of error for a broken file
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        template = broken or (Errors.P116 if isinstance(source, Path) else Errors.P245)
        if isinstance(error, SafetensorError):
            template = Errors.P115
        if device_map is not None:
            own_words = str(error).replace(str(source), "")
            template = _map_template(own_words) or template
        message = template.format(name=source, error=words_of(error), known=NAMES)
        raise ValueError(message) from error


def _map_template(words: str) -> str | None:
    """The message for an error about a model's devices; None for other errors."""
    if any(part in words for part in _NO_ROOM):
        return Errors.P884
    return Errors.P888 if any(part in words for part in _MISFIT) else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there is no more memory; torch often raises a general error.

    error (BaseException): The error.
    """
    kinds = torch.OutOfMemoryError, MemoryError
    return isinstance(error, kinds) or any(w in str(error) for w in _NO_MEMORY)


def check_numbers(config: Any) -> None:
    """Check that the numbers of a model's config are numbers.

    transformers notices some of them only when the model runs.

    config (transformers.PretrainedConfig): The config.
    RAISES (ValueError): If one of them is not.
    """
    for part in (config, config.get_text_config()):
        try:
            defaults = type(part)().to_dict()
        except Exception:  # a config of code on the hub, which needs arguments
            continue
        for field, value, default in _fields(part.to_dict(), defaults):
            if not _may_replace(value, default):
                raise ValueError(f"{field} = {value!r} is not a number")


def _fields(
    values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """The fields that are set, their values, and their defaults."""
    for field, default in defaults.items():
        value = values.get(field)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from _fields(value, default)
        elif value is not None:
            yield field, value, default


def _may_replace(value: Any, default: Any) -> bool:
    """Whether a value may stand where the default is this one."""
    if isinstance(default, bool) or not isinstance(default, int | float):
        return True
    # a list has a value for each layer, or several tokens
    is_list = isinstance(default, int) and isinstance(value, list | tuple)
    return is_list or isinstance(value, int | float)


def check_complete(source: Path | str, missing: Iterable[str]) -> None:
    """Check that no weights are missing.

    source (Path | str): The model's folder or hub name.
    missing (Iterable[str]): Names of the missing weights.
    RAISES (ValueError): If there are any.
    """
    names = sorted(missing)
    if names:
        message = Errors.P117.format(name=source, count=len(names), first=names[0])
        raise ValueError(message)
