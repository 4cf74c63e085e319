"""The KV cache of token trees: one row per tree, written once and read in place."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

_SMALL = 1024  # slots in all rows that are not worth freeing
_SPARE = 4  # memory of more than this many times the needed size is freed
_STEP = 32  # slots; with few sizes, a GPU's memory is used again


class _Store(NamedTuple):
    """Buffers of the same shape as one tensor.

    tensor (torch.Tensor): (buffers, rows, slots, heads, head size).
    indexes (list[tuple[int, int]]): The layer of each buffer, and 0 for keys or 1 for
        values.
    memory (torch.Tensor): (numbers,), whose first numbers are the tensor's.
    """

    tensor: torch.Tensor
    indexes: list[tuple[int, int]]
    memory: torch.Tensor


class TreeKVCache:
    """The keys and values of all layers of a model, for several trees.

    Each tree has a row, numbered from 0. A tree's slots are those of its `TokenTree`.
    The keys and values of a layer are on the layer's device.

    rows, slots (int): The allocated size.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.slots = 0
        # joined when the cache grows, so that rows are moved by few kernels
        self._stores: list[_Store] = []
        # their parts, each (rows, slots, heads, head size)
        self._buffers: dict[tuple[int, int], torch.Tensor] = {}
        # the same, each (rows * slots, heads, head size)
        self._flat: dict[tuple[int, int], torch.Tensor] = {}

    def reserve(
        self, rows: int, slots: int, *, kept: tuple[int, int] | None = None
    ) -> None:
        """Lay out rows and slots, and free memory if much more was allocated.

        Slots whose content is not kept hold any finite numbers.

        rows, slots (int): The numbers of rows and slots that are needed.
        kept (tuple[int, int] | None): The numbers of first rows, and of first slots in
            them, whose content is needed, at most the old and the new size; None
            means all.
        """
        enough = rows <= self.rows and slots <= self.slots
        if enough and self.rows * self.slots <= _SPARE * rows * slots + _SMALL:
            return
        kept_rows, kept_slots = kept or (min(rows, self.rows), min(slots, self.slots))
        self.rows, self.slots = rows, -(-(slots + slots // 4) // _STEP) * _STEP
        groups = _grouped(self._stores)
        self._stores = []
        self._buffers.clear()
        self._flat.clear()
        for alike in groups:
            indexes = [index for store in alike for index in store.indexes]
            content = torch.cat(
                [store.tensor[:, :kept_rows, :kept_slots] for store in alike]
            )
            shape = len(indexes), self.rows, self.slots, *content.shape[3:]
            memory = _memory(alike, prod(shape), like=content)
            tensor = memory[: prod(shape)].view(shape)
            tensor[:, :kept_rows, :kept_slots] = content
            self._add(_Store(tensor, indexes, memory))

    def _add(self, store: _Store) -> None:
        self._stores.append(store)
        for number, index in enumerate(store.indexes):
            buffer = self._buffers[index] = store.tensor[number]
            self._flat[index] = buffer.flatten(0, 1)

    def slot_mapping(
        self, rows: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Get the indices in the flattened cache for rows and slots.

        rows, slots (int64, (tokens,)): Row and slot of each token.
        RETURNS (int64, (tokens,)): Their indices.
        """
        return rows * self.slots + slots

    def write(
        self,
        layer: int,
        key: torch.Tensor,
        value: torch.Tensor,
        slot_mapping: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values of a layer, and return all of that layer.

        layer (int): The layer's index.
        key, value (torch.Tensor): (tokens, heads, head size).
        slot_mapping (torch.Tensor): The index in the flattened cache of each token.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): All keys and values, each
            (rows, slots, heads, head size).
        """
        if (layer, 0) not in self._buffers:
            for kind, new in enumerate((key, value)):
                shape = 1, self.rows, self.slots, *new.shape[1:]
                memory = new.new_zeros(prod(shape))
                self._add(_Store(memory.view(shape), [(layer, kind)], memory))
        self._flat[layer, 0].index_copy_(0, slot_mapping, key)
        self._flat[layer, 1].index_copy_(0, slot_mapping, value)
        return self._buffers[layer, 0], self._buffers[layer, 1]

    def clear(self, row: int, slots: int) -> None:
        """Set the first slots of a row to zero.

        row (int): The row.
        slots (int): How many slots.
        """
        for store in self._stores:
            store.tensor[:, row, :slots] = 0

    def move(self, sources: Sequence[int], targets: Sequence[int], slots: int) -> None:
        """Copy rows over other rows.

        sources, targets (Sequence[int]): The rows; no row is in both.
        slots (int): The largest number of slots in use in one of the rows.
        """
        for store in self._stores:
            for source, target in zip(sources, targets, strict=True):
                store.tensor[:, target, :slots] = store.tensor[:, source, :slots]


def _memory(alike: list[_Store], count: int, *, like: torch.Tensor) -> torch.Tensor:
    """The largest memory of stores if it fits, or else new memory.

    To use memory again is faster than to take new, whose pages the system must fill.

    alike (list[_Store]): At least one; emptied if the memory is new.
    count (int): The numbers that it must hold.
    like (torch.Tensor): Has the dtype and device.
    RETURNS (torch.Tensor): (at least count,).
    """
    memory = max((store.memory for store in alike), key=torch.Tensor.numel)
    if count <= memory.numel() <= _SPARE * count:
        return memory
    alike.clear()
    del memory  # the old is freed before the new is taken
    # zeros, as slots that no token sees must not hold NaN
    return like.new_zeros(count)


def _grouped(stores: Sequence[_Store]) -> list[list[_Store]]:
    """Group stores whose buffers have the same shape, dtype and device."""
    groups: dict[tuple[Any, ...], list[_Store]] = {}
    for store in stores:
        kind = store.tensor.shape[3:], store.tensor.dtype, store.tensor.device
        groups.setdefault(kind, []).append(store)
    return list(groups.values())
