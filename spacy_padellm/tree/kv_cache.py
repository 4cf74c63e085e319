"""The KV cache of token trees: one row per tree, written once and read in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

_SMALL = 1024  # slots in all rows that are not worth freeing
_STEP = 32  # slots; with few sizes, a GPU's memory is used again


class _Store(NamedTuple):
    """Buffers of the same shape as one tensor.

    tensor (torch.Tensor): (buffers, rows, slots, heads, head size).
    indexes (list[tuple[int, int]]): The layer of each buffer, and 0 for keys or 1 for
        values.
    """

    tensor: torch.Tensor
    indexes: list[tuple[int, int]]


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

    def reserve(self, rows: int, slots: int) -> None:
        """Allocate rows and slots, and free memory if much more was allocated.

        The content is kept.

        rows, slots (int): The numbers of rows and slots that are needed.
        """
        enough = rows <= self.rows and slots <= self.slots
        if enough and self.rows * self.slots <= 4 * rows * slots + _SMALL:
            return
        kept = slice(None), slice(min(rows, self.rows)), slice(min(slots, self.slots))
        self.rows = rows + (rows // 4 if self.rows else 0)
        self.slots = -(-(slots + slots // 4) // _STEP) * _STEP
        old, self._stores = self._stores, []
        self._buffers.clear()
        self._flat.clear()
        for alike in _grouped(old):
            indexes = [index for store in alike for index in store.indexes]
            shape = len(indexes), self.rows, self.slots, *alike[0].tensor.shape[3:]
            # zeros, as slots that no token sees must not hold NaN
            tensor = alike[0].tensor.new_zeros(shape)
            parts = tensor.split([len(store.indexes) for store in alike])
            for part, store in zip(parts, alike, strict=True):
                part[kept] = store.tensor[kept]
            self._add(_Store(tensor, indexes))

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
                self._add(_Store(new.new_zeros(shape), [(layer, kind)]))
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


def _grouped(stores: Sequence[_Store]) -> list[list[_Store]]:
    """Group stores whose buffers have the same shape, dtype and device."""
    groups: dict[tuple[Any, ...], list[_Store]] = {}
    for store in stores:
        kind = store.tensor.shape[3:], store.tensor.dtype, store.tensor.device
        groups.setdefault(kind, []).append(store)
    return list(groups.values())
