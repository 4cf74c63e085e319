"""Copies and pickles of models with quantized weights.

Such a weight is a parameter of a class of its own, with tensors in its attributes. What
torch pickles is a plain parameter, and copies on another device would leave those
tensors where they are.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import torch

from spacy_padellm.compat.torch import holds_tensors, parameter_of_class
from spacy_padellm.errors import Errors


def dumps(value: Any) -> bytes:
    """Pickle an object; its parameters keep their class and their attributes.

    value (Any): The object.
    RETURNS (bytes): What `pickle.loads` reads.
    RAISES (ValueError): If a part of it cannot be pickled.
    """
    file = io.BytesIO()
    _dump(_Pickler(file), value)
    return file.getvalue()


def copied(
    value: Any, *, device: torch.device | None = None, shared: Iterable[Any] = ()
) -> Any:
    """Copy an object with all tensors in it, one by one.

    value (Any): The object.
    device (torch.device | None): Where its tensors are copied to; None leaves each on
        its device.
    shared (Iterable[Any]): Parts that the copy shares with the object.
    RETURNS (Any): The copy.
    RAISES (ValueError): If a part of it cannot be copied.
    """
    file = io.BytesIO()
    pickler = _Copier(
        file, lambda tensor: tensor.to(device or tensor.device, copy=True)
    )
    pickler.share(shared)
    _dump(pickler, value)
    file.seek(0)
    unpickler = _Unpickler(file)
    unpickler.parts = pickler.parts
    return unpickler.load()


def _dump(pickler: pickle.Pickler, value: Any) -> None:
    try:
        pickler.dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(Errors.P709.format(error=error)) from error


class _Pickler(pickle.Pickler):
    """Pickles parameters as what they are."""

    def reducer_override(self, value: Any) -> Any:
        """See `pickle.Pickler`."""
        if not isinstance(value, torch.nn.Parameter) or _is_plain(value):
            return NotImplemented
        parts = type(value), value.data, value.requires_grad
        return _make_parameter, parts, vars(value), None, None, _set_attributes


class _Copier(_Pickler):
    """Keeps tensors, and what is shared, beside the pickle."""

    def __init__(self, file: Any, copy: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(file)
        self.parts: list[Any] = []
        self._copy = copy
        self._indexes: dict[Any, int] = {}
        self._kept: list[Any] = []  # ids of what is gone would be given again

    def share(self, values: Iterable[Any]) -> None:
        """Let the copy have these objects themselves."""
        for value in values:
            self._put(id(value), value, value)

    def persistent_id(self, value: Any) -> int | None:
        """See `pickle.Pickler`."""
        if id(value) in self._indexes:
            return self._indexes[id(value)]
        if not isinstance(value, torch.Tensor) or not _is_plain(value):
            return None
        if isinstance(value, torch.nn.Parameter):
            copy = torch.nn.Parameter(self._copy(value.detach()), value.requires_grad)
            return self._put(id(value), copy, value)
        # two tensors can be views of one memory
        key = (value.data_ptr(), value.dtype, value.shape, value.stride())
        if not value.data_ptr() or key not in self._indexes:
            self._put(key, self._copy(value.detach()), value)
        return self._indexes[key]

    def _put(self, key: Any, part: Any, value: Any) -> int:
        self._indexes[key] = len(self.parts)
        self.parts.append(part)
        self._kept.append(value)
        return self._indexes[key]


class _Unpickler(pickle.Unpickler):
    parts: list[Any]

    def persistent_load(self, index: int) -> Any:
        """See `pickle.Unpickler`."""
        return self.parts[index]


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no attributes, or knows itself how it is copied."""
    if holds_tensors(tensor):
        return True
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and not vars(tensor)


def _make_parameter(kind: type, data: torch.Tensor, requires_grad: bool) -> Any:
    return parameter_of_class(kind, data, requires_grad=requires_grad)


def _set_attributes(parameter: Any, attributes: dict[str, Any]) -> None:
    vars(parameter).update(attributes)
