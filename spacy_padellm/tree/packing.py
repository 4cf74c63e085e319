"""Passes over many token trees: the new tokens of all of them, packed in one row.

Packed tokens carry no padding through the model's products. Only attention sees rows:
each tree is a row of the cache, and rows that came with this pass are kept apart from
those that go on, because their new tokens are many more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spacy_padellm.tree.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Neighbouring rows of a pass, for attention padded to one width.

    rows (slice): The rows of the cache.
    width (int): Most new tokens of a row.
    slots (int): Most slots of a row.
    packed (slice): The group's tokens among the packed ones.
    pad (int64, (rows * width,) | None): Which of the group's packed tokens stands
        where; 0 in padding. None where there is no padding.
    unpad (int64, (tokens,) | None): Where each packed token stands.
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

    ids, positions (int64, (tokens,)): Packed tokens and their depths, from 0.
    rows, slots (int64, (tokens,)): Where the cache keeps each.
    groups (tuple[RowGroup, ...]): For attention.
    starts, first_slots (list[int]): Each tree's first packed token, and its slot.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    groups: tuple[RowGroup, ...]
    starts: list[int]
    first_slots: list[int]

    @property
    def used(self) -> tuple[int, int]:
        """Rows and slots that the cache must have."""
        return self.groups[-1].rows.stop, max(group.slots for group in self.groups)


def pack(trees: Sequence[TokenTree], old: int) -> PackedBatch:
    """Close a pass of trees.

    trees (Sequence[TokenTree]): At least one, each with new tokens; their order is
        that of the cache's rows.
    old (int): How many of them were in a pass before; they come first.
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
    return PackedBatch(ids, positions, rows, slots, tuple(groups), *begins)
