"""Pack the new tokens of many token trees into one row, for a forward pass.

Packed tokens have no padding, except in attention. There each tree is a row of the KV
cache. New trees and continued trees form separate groups, because new trees have many
more new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spacy_padellm.tree.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Adjacent rows of a pass, padded to one width for attention.

    rows (slice): The rows of the cache.
    width (int): The largest number of new tokens in a row.
    slots (int): The largest number of slots in a row.
    packed (slice): The group's tokens among the packed tokens.
    pad (int64, (rows * width,) | None): For each position of the padded rows, the index
        of its packed token in the group; 0 in padding. None if there is no padding.
    unpad (int64, (tokens,) | None): For each packed token of the group, its position in
        the padded rows. None if there is no padding.
    visible (bool, (rows, width, slots)): Which slots each token attends to.
    """

    rows: slice
    width: int
    slots: int
    packed: slice
    pad: npt.NDArray[np.int64] | None
    unpad: npt.NDArray[np.int64] | None
    visible: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """The new tokens of all trees.

    ids, positions (int64, (tokens,)): Token ids and depths in the tree, from 0.
    rows, slots (int64, (tokens,)): Row and slot of each token in the cache.
    groups (tuple[RowGroup, ...]): The groups of rows, for attention.
    starts (list[int]): The index of each tree's first packed token.
    first_slots (list[int]): The slot of each tree's first packed token.
    prefixes, causal_prefixes (list[int]): `shared_prefix` and `causal_prefix` of each
        tree.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    groups: tuple[RowGroup, ...]
    starts: list[int]
    first_slots: list[int]
    prefixes: list[int]
    causal_prefixes: list[int]

    @property
    def used(self) -> tuple[int, int]:
        """The numbers of rows and slots that the cache must have."""
        return self.groups[-1].rows.stop, max(group.slots for group in self.groups)

    @property
    def kept(self) -> tuple[int, int]:
        """The numbers of rows and slots of the cache that hold earlier passes."""
        return sum(map(bool, self.first_slots)), max(self.first_slots)


def pack(trees: Sequence[TokenTree], old: int) -> PackedBatch:
    """Close the current pass of trees, and pack their new tokens.

    trees (Sequence[TokenTree]): At least one tree, each with new tokens, in the order
        of the cache's rows.
    old (int): The number of trees that were in an earlier pass; they come first.
    """
    widths = np.array([tree.width for tree in trees])
    starts = np.concatenate(([0], np.cumsum(widths)))
    total = int(starts[-1])
    ids = np.empty(total, dtype=np.int64)
    positions = np.empty(total, dtype=np.int64)
    rows = np.repeat(np.arange(len(trees)), widths)
    firsts = np.array([tree.start for tree in trees])
    within = np.arange(total) - np.repeat(starts[:-1], widths)
    slots = within + np.repeat(firsts, widths)
    groups = []
    for a, b in ((0, old), (old, len(trees))):
        if a == b:
            continue
        width = int(widths[a:b].max())
        used = int((firsts[a:b] + widths[a:b]).max())
        visible = np.zeros((b - a, width, used), dtype=np.bool_)
        for row in range(a, b):
            start, end = starts[row], starts[row + 1]
            trees[row].close(ids[start:end], positions[start:end], visible[row - a])
        packed = slice(int(starts[a]), int(starts[b]))
        pad = unpad = None
        if packed.stop - packed.start != (b - a) * width:
            unpad = (rows[packed] - a) * width + within[packed]
            pad = np.zeros((b - a) * width, dtype=np.int64)
            pad[unpad] = np.arange(len(unpad))
        groups.append(RowGroup(slice(a, b), width, used, packed, pad, unpad, visible))
    begins = starts[:-1].tolist(), firsts.tolist()
    prefixes = [tree.shared_prefix for tree in trees]
    causal = [tree.causal_prefix for tree in trees]
    return PackedBatch(
        ids, positions, rows, slots, tuple(groups), *begins, prefixes, causal
    )
