"""The token tree: many prompts of one text as one row of tokens.

Prompts of a text share their beginning. Laid out as a tree in one row, each shared
token stands once; a token's position is its depth, and it attends to its ancestors
and itself and to nothing else. A causal LM given this mask and these positions
computes for each token exactly what it computes in the separate sequence. Of a prefix
LM the tokens of the text attend to each other in both directions besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROOT = -1  # the parent of a tree's first token


@dataclass(frozen=True, slots=True)
class _Chain:
    """Tokens that follow each other; `above` says which slots before them they see."""

    first: int
    depth: int
    above: npt.NDArray[np.bool_]
    ids: Sequence[int]


class TokenTree:
    """One text's tree, grown pass by pass.

    A node is named by its slot, which is also its place in the cache of keys and
    values: slots are numbered in the order in which tokens come.
    """

    __slots__ = (
        "_chain_of",
        "_chains",
        "_closed",
        "bidirectional_span",
        "filled",
        "start",
    )

    def __init__(self, *, bidirectional_span: tuple[int, int] = (0, 0)) -> None:
        """Begin with an empty tree.

        bidirectional_span (tuple[int, int]): First slot, and the one after the last, of
            the first chain's tokens that all attend to each other; they come in the
            first pass.
        """
        self.bidirectional_span = bidirectional_span
        self.filled = 0  # the next free slot
        self.start = 0  # the first slot of the pass that is being filled
        self._chains: list[_Chain] = []
        self._chain_of: list[int] = []  # slot -> place in `_chains`
        self._closed = 0  # chains of the passes before

    @property
    def width(self) -> int:
        """Tokens added since the last pass."""
        return self.filled - self.start

    def extend(self, parent: int, ids: Sequence[int]) -> int:
        """Hang a chain of tokens under a node; no two chains are ever merged.

        parent (int): Slot of the parent, or ROOT.
        ids (Sequence[int]): The chain's tokens, at least one.
        RETURNS (int): Slot of the chain's last token; the others stand before it.
        """
        first, depth = self.filled, 0
        above = np.zeros(first, dtype=np.bool_)
        if parent != ROOT:
            chain = self._chains[self._chain_of[parent]]
            above[: chain.first] = chain.above
            above[chain.first : parent + 1] = True
            depth = chain.depth + parent - chain.first + 1
        self._chain_of += [len(self._chains)] * len(ids)
        self._chains.append(_Chain(first, depth, above, ids))
        self.filled += len(ids)
        return self.filled - 1

    def depth(self, slot: int) -> int:
        """A node's distance from its root in tokens."""
        chain = self._chains[self._chain_of[slot]]
        return chain.depth + slot - chain.first

    def close(
        self,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        visible: npt.NDArray[np.bool_],
    ) -> None:
        """Close the pass: write down what was added since the last one.

        ids (int64, (width,)): Takes the tokens.
        positions (int64, (width,)): Takes their depths, from 0.
        visible (bool, (width, at least filled)): False throughout; takes which slots
            each token attends to.
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
    """Trees side by side, a row each, for a pass without a cache.

    ids (int64, (rows, width)): Tokens; 0 in padding.
    positions (int64, (rows, width)): Depths in the tree, from 0.
    visible (bool, (rows, width, width)): Which slots each token attends to.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]


def side_by_side(trees: Sequence[TokenTree]) -> TreeBatch:
    """Close the only pass of several trees, padded to one width."""
    width = max(tree.filled for tree in trees)
    ids = np.zeros((len(trees), width), dtype=np.int64)
    positions = np.zeros_like(ids)
    visible = np.zeros((len(trees), width, width), dtype=np.bool_)
    for row, tree in enumerate(trees):
        filled = tree.filled
        tree.close(ids[row, :filled], positions[row, :filled], visible[row, :filled])
        # padding sees itself alone: no real token sees it, no softmax is empty
        pad = np.arange(filled, width)
        visible[row, pad, pad] = True
    return TreeBatch(ids=ids, positions=positions, visible=visible)


_TRIANGLE = np.tril(np.ones((64, 64), dtype=np.bool_))


def _triangle(size: int) -> npt.NDArray[np.bool_]:
    """The causal mask inside one chain."""
    global _TRIANGLE
    triangle = _TRIANGLE  # another thread may set a smaller one
    if size > len(triangle):
        triangle = np.tril(np.ones((2 * size, 2 * size), dtype=np.bool_))
        _TRIANGLE = triangle
    return triangle[:size, :size]
