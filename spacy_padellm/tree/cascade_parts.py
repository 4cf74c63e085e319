"""Parts the attention of a packed batch by what tokens attend to.

Most slots that a token attends to are the prefix that its whole tree shares. Attention
to the prefix needs no mask and no padding. The rest is small: the token's own branch.
Both are computed apart and merged, as in Hydragen (Juravsky et al., 2024, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spacy_padellm.tree.packing import PackedBatch

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of queries, each with keys that need no mask.

    tokens (int64, (queries,)): The packed tokens that are the queries.
    rows, slots (int64, (keys,)): Rows and slots of the keys in the cache.
    token_counts, key_counts (list[int]): Queries and keys of each sequence.
    """

    tokens: Indices
    rows: Indices
    slots: Indices
    token_counts: list[int]
    key_counts: list[int]


@dataclass(frozen=True, slots=True)
class Branches:
    """Tokens and their own branches, one row per tree, padded.

    tokens (int64, (tokens,)): The packed tokens.
    pad (int64, (rows * width,)): For each position of the padded rows, its packed
        token; any token in padding.
    unpad (int64, (tokens,)): The position of each token in the padded rows.
    rows, slots (int64, (rows * slots,)): Rows and slots of the keys in the cache.
    visible (bool, (rows, width, slots)): Which keys each token attends to.
    """

    tokens: Indices
    pad: Indices
    unpad: Indices
    rows: Indices
    slots: Indices
    visible: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cascade:
    """What the tokens of a packed batch attend to.

    causal (Ragged): Tokens of new prefixes that attend to the tokens up to them.
    bidirectional (Ragged): Tokens of new prefixes that attend to the whole prefix.
    to_prefix (Ragged): The other tokens, and their trees' prefixes.
    branches (Branches | None): The same tokens and those without a prefix, and their
        own branches; None if there are none.
    """

    causal: Ragged
    bidirectional: Ragged
    to_prefix: Ragged
    branches: Branches | None


class _Part(NamedTuple):
    """Adjacent tokens of a tree, and the slots that they attend to."""

    row: int
    tokens: range
    slots: range


def cascade(packed: PackedBatch) -> Cascade:
    """Part the attention of a packed batch.

    packed (PackedBatch): The batch.
    """
    causal, bidirectional, to_prefix, branches = ([] for _ in range(4))
    ends = [*packed.starts[1:], len(packed.ids)]
    for row, (start, end) in enumerate(zip(packed.starts, ends, strict=True)):
        first, prefix = packed.first_slots[row], packed.prefixes[row]
        own = start  # the first token that is not part of a prefix
        if first == 0:
            middle, own = start + packed.causal_prefixes[row], start + prefix
            causal.append(_Part(row, range(start, middle), range(middle - start)))
            bidirectional.append(_Part(row, range(middle, own), range(prefix)))
        tokens = range(own, end)
        to_prefix.append(_Part(row, tokens, range(prefix)))
        branches.append(_Part(row, tokens, range(prefix, first + end - start)))
    return Cascade(
        _ragged(causal),
        _ragged(bidirectional),
        _ragged(to_prefix),
        _branches(packed, [part for part in branches if part.tokens]),
    )


def _ragged(parts: Iterable[_Part]) -> Ragged:
    parts = [part for part in parts if part.tokens and part.slots]
    return Ragged(
        _joined(part.tokens for part in parts),
        _rows(parts),
        _joined(part.slots for part in parts),
        [len(part.tokens) for part in parts],
        [len(part.slots) for part in parts],
    )


def _branches(packed: PackedBatch, parts: list[_Part]) -> Branches | None:
    if not parts:
        return None
    width = max(len(part.tokens) for part in parts)
    size = max(len(part.slots) for part in parts)
    visible = np.zeros((len(parts), width, size), dtype=np.bool_)
    pad = np.zeros((len(parts), width), dtype=np.int64)
    # in padding, the last slot of the row
    slots = np.empty((len(parts), size), dtype=np.int64)
    for number, part in enumerate(parts):
        mask = _visible(packed, part.row)
        tokens = slice(
            part.tokens.start - packed.starts[part.row],
            part.tokens.stop - packed.starts[part.row],
        )
        visible[number, : len(part.tokens), : len(part.slots)] = mask[
            tokens, part.slots.start : part.slots.stop
        ]
        pad[number, : len(part.tokens)] = part.tokens
        slots[number] = part.slots[-1]
        slots[number, : len(part.slots)] = part.slots
    unpad = [
        number * width + np.arange(len(part.tokens))
        for number, part in enumerate(parts)
    ]
    rows = np.repeat([part.row for part in parts], size)
    return Branches(
        _joined(part.tokens for part in parts),
        pad.ravel(),
        np.concatenate(unpad),
        rows,
        slots.ravel(),
        visible,
    )


def _visible(packed: PackedBatch, row: int) -> npt.NDArray[np.bool_]:
    """What the new tokens of a tree attend to: (width, slots) of its group."""
    for group in packed.groups:
        if row < group.rows.stop:
            break
    visible: npt.NDArray[np.bool_] = group.visible[row - group.rows.start]
    return visible


def _rows(parts: list[_Part]) -> Indices:
    rows = np.array([part.row for part in parts], dtype=np.int64)
    return np.repeat(rows, [len(part.slots) for part in parts])


def _joined(parts: Iterable[range]) -> Indices:
    arrays = [np.arange(part.start, part.stop) for part in parts]
    return np.concatenate([np.empty(0, dtype=np.int64), *arrays])
