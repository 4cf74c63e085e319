"""The KV cache of token trees: one row per tree, written once and read in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

_SMALL = 1024  # slots in all rows that are not worth freeing


class TreeKVCache:
    """The keys and values of all layers of a model, for several trees.

    Each tree has a row, numbered from 0. A tree's slots are those of its `TokenTree`.

    rows, slots (int): The allocated size.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.slots = 0
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def reserve(self, rows: int, slots: int) -> None:
        """Allocate rows and slots, and free memory if much more was allocated.

        The content is kept.
        """
        enough = rows <= self.rows and slots <= self.slots
        if enough and self.rows * self.slots <= 4 * rows * slots + _SMALL:
            return
        kept = slice(min(rows, self.rows)), slice(min(slots, self.slots))
        self.rows = rows + (rows // 4 if self.rows else 0)
        self.slots = slots + slots // 4
        for store in (self._keys, self._values):
            for layer, old in enumerate(store):
                # zeros, as slots that no token sees must not hold NaN
                store[layer] = old.new_zeros(self.rows, self.slots, *old.shape[2:])
                store[layer][kept] = old[kept]

    def slot_mapping(
        self, rows: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Get the indices in the flattened cache for rows and slots."""
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
        for store, new in ((self._keys, key), (self._values, value)):
            heads, size = new.shape[1:]
            if layer == len(store):
                store.append(new.new_zeros(self.rows, self.slots, heads, size))
            flat = store[layer].view(self.rows * self.slots, heads, size)
            flat.index_copy_(0, slot_mapping, new)
        return self._keys[layer], self._values[layer]

    def clear(self, row: int, slots: int) -> None:
        """Set the first slots of a row to zero."""
        for store in (self._keys, self._values):
            for buffer in store:
                buffer[row, :slots] = 0

    def move(self, sources: Sequence[int], targets: Sequence[int], slots: int) -> None:
        """Copy rows over other rows.

        sources, targets (Sequence[int]): The rows; no row is in both.
        slots (int): The largest number of slots in use in one of the rows.
        """
        device = self._keys[0].device
        to, of = torch.tensor(targets).to(device), torch.tensor(sources).to(device)
        for store in (self._keys, self._values):
            for buffer in store:
                buffer[to, :slots] = buffer[of, :slots]
