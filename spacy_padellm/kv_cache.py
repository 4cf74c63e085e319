"""Keys and values of a token tree, written once and read in place."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache


class TreeCache(Cache):
    """A cache whose slots are those of a `TreeBatch`.

    A pass writes its keys and values behind those of the passes before it; nothing
    is copied unless the buffers must grow or rows leave the batch.
    """

    # the parent's constructor sets up stores that are not used here, and differs
    # between releases of transformers
    def __init__(self, capacity: int) -> None:
        """Make an empty cache.

        capacity (int): Slots a row to make room for; more are added when needed.
        """
        self.layers: list[Any] = []  # transformers 5 looks for sliding ones here
        self.capacity = capacity
        self.start = 0
        self.length = 0
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's new keys and values, and give all of that layer's.

        key_states, value_states (torch.Tensor): (rows, heads, width, head size).
        layer_idx (int): The layer.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Views of (rows, heads, slots,
            head size).
        """
        width = key_states.shape[-2]
        if layer_idx == 0:
            self.start, self.length = self.length, self.length + width
            if self.length > self.capacity:
                self._grow(self.length)
        if layer_idx == len(self._keys):
            self._keys.append(self._buffer(key_states))
            self._values.append(self._buffer(value_states))
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[:, :, self.start : self.length] = key_states
        values[:, :, self.start : self.length] = value_states
        return keys[:, :, : self.length], values[:, :, : self.length]

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        """Slots written by the passes before the one under way."""
        return self.length

    def get_max_cache_shape(self, layer_idx: int | None = 0) -> int | None:
        return None

    def get_mask_sizes(self, query: Any, layer_idx: int | None = 0) -> tuple[int, int]:
        """Length and offset of the keys that a pass sees (asked by transformers)."""
        width = query if isinstance(query, int) else query.shape[0]
        return self.length + width, 0

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows only, in this order."""
        self._keys = [keys[rows] for keys in self._keys]
        self._values = [values[rows] for values in self._values]

    def _buffer(self, states: torch.Tensor) -> torch.Tensor:
        rows, heads, _, size = states.shape
        return states.new_empty((rows, heads, self.capacity, size))

    def _grow(self, needed: int) -> None:
        self.capacity = max(needed, self.capacity + self.capacity // 2)
        for buffers in (self._keys, self._values):
            for layer, old in enumerate(buffers):
                buffers[layer] = self._buffer(old)
                buffers[layer][:, :, : self.start] = old[:, :, : self.start]
