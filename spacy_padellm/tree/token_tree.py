"""The token tree: many prompts of one text as one row of tokens.

The prompts of a text share a prefix. In a tree, each shared token occurs once. A
token's position is its depth, and it attends only to its ancestors and itself. With
this mask and these positions, a causal LM computes the same for each token as in a
separate sequence. In a prefix LM, the tokens of the text also attend to each other in
both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROOT = -1  # the parent of a tree's first token


@dataclass(frozen=True, slots=True)
class _Chain:
    """Consecutive tokens.

    first, depth (int): Slot and depth of the first token.
    above (bool, (first,)): Which earlier slots they attend to.
    leading (int): How many slots from the first on they all attend to, or are.
    ids (Sequence[int]): Token ids.
    """

    first: int
    depth: int
    above: npt.NDArray[np.bool_]
    leading: int
    ids: Sequence[int]


class TokenTree:
    """The tree of one text, extended before each forward pass.

    A token is identified by its slot, which is also its index in the KV cache. Slots
    are numbered in the order in which tokens are added.
    """

    __slots__ = (
        "_chain_of",
        "_chains",
        "_closed",
        "_leading",
        "bidirectional_span",
        "filled",
        "start",
    )

    def __init__(self, *, bidirectional_span: tuple[int, int] = (0, 0)) -> None:
        """Create an empty tree.

        bidirectional_span (tuple[int, int]): Start and end slot of the tokens that all
            attend to each other. They are in the first chain, and in the first pass.
        """
        self.bidirectional_span = bidirectional_span
        self.filled = 0  # the next free slot
        self.start = 0  # the first slot of the current pass
        self._chains: list[_Chain] = []
        self._chain_of: list[int] = []  # slot -> index in `_chains`
        self._closed = 0  # number of chains in earlier passes
        self._leading = 0  # the fewest of all chains

    @property
    def width(self) -> int:
        """The number of tokens added since the last pass."""
        return self.filled - self.start

    @property
    def shared_prefix(self) -> int:
        """How many slots, from the first on, all later tokens attend to.

        In a prefix LM, the prefix ends with the tokens that all attend to each other; 0
        if a branch begins among them.
        """
        end = self.bidirectional_span[1]
        if end:
            return end if self._leading >= end else 0
        return self._leading

    @property
    def causal_prefix(self) -> int:
        """How many tokens of the shared prefix attend to no later token."""
        start, end = self.bidirectional_span
        return min(self.shared_prefix, start) if end else self.shared_prefix

    def extend(self, parent: int, ids: Sequence[int]) -> int:
        """Add a chain of tokens below a token. Equal chains are not merged.

        parent (int): Slot of the parent, or ROOT.
        ids (Sequence[int]): The chain's token ids, at least one.
        RETURNS (int): Slot of the chain's last token; the other slots directly precede
            it.
        """
        first, depth, leading = self.filled, 0, 0
        above = np.zeros(first, dtype=np.bool_)
        if parent != ROOT:
            chain = self._chains[self._chain_of[parent]]
            above[: chain.first] = chain.above
            above[chain.first : parent + 1] = True
            depth = chain.depth + parent - chain.first + 1
            leading = min(chain.leading, parent + 1)
        elif not first:
            leading = len(ids)
        self._leading = min(self._leading, leading) if first else leading
        self._chain_of += [len(self._chains)] * len(ids)
        self._chains.append(_Chain(first, depth, above, leading, ids))
        self.filled += len(ids)
        return self.filled - 1

    def depth(self, slot: int) -> int:
        """Get a token's distance from the root in tokens."""
        chain = self._chains[self._chain_of[slot]]
        return chain.depth + slot - chain.first

    def close(
        self,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        visible: npt.NDArray[np.bool_],
    ) -> None:
        """End the current pass, and write the tokens added since the last one.

        ids (int64, (width,)): Receives the token ids.
        positions (int64, (width,)): Receives their depths, from 0.
        visible (bool, (width, at least filled)): All False; receives which slots each
            token attends to.
        """
        for chain in self._chains[self._closed :]:
            first, size = chain.first, len(chain.ids)
            a, b = first - self.start, first - self.start + size
            ids[a:b] = chain.ids
            positions[a:b] = np.arange(chain.depth, chain.depth + size)
            visible[a:b, :first] = chain.above
            if size == 1:
                visible[a, first] = True
            else:
                visible[a:b, first : first + size] = _triangle(size)
        if self.start == 0:
            span = slice(*self.bidirectional_span)
            visible[span, span] = True
        self._closed = len(self._chains)
        self.start = self.filled


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """Padded trees, one per row, for a forward pass without a cache.

    ids (int64, (rows, width)): Token ids; 0 in padding.
    positions (int64, (rows, width)): Depths in the tree, from 0.
    visible (bool, (rows, width, width)): Which slots each token attends to.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]


def pad_trees(trees: Sequence[TokenTree]) -> TreeBatch:
    """End the only pass of several trees, and pad them to one width.

    trees (Sequence[TokenTree]): At least one tree, each with tokens and without an
        earlier pass.
    """
    width = max(tree.filled for tree in trees)
    ids = np.zeros((len(trees), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    visible = np.zeros((len(trees), width, width), dtype=np.bool_)
    for row, tree in enumerate(trees):
        filled = tree.filled
        tree.close(ids[row, :filled], positions[row, :filled], visible[row, :filled])
        # padding attends only to itself, so that no softmax is empty
        pad = np.arange(filled, width)
        visible[row, pad, pad] = True
    return TreeBatch(ids=ids, positions=positions, visible=visible)


# as wide as most chains at most, as it stays in memory; a power of 2
_WIDEST_KEPT = 1024
_TRIANGLE = np.tri(64, dtype=np.bool_)


def _triangle(size: int) -> npt.NDArray[np.bool_]:
    """Get the causal mask inside one chain."""
    global _TRIANGLE
    triangle = _TRIANGLE  # another thread may replace the global by a smaller one
    if size > _WIDEST_KEPT:
        return np.tri(size, dtype=np.bool_)
    if size > len(triangle):
        width = 1 << (size - 1).bit_length()
        triangle = _TRIANGLE = np.tri(width, dtype=np.bool_)
    return triangle[:size, :size]
