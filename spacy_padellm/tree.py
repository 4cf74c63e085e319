"""The token tree: many prompts of one text as one row of tokens.

Prompts of a text share their beginning. Laid out as a tree in one row, each shared
token stands once; a token's position is its depth, and it attends to its ancestors
and itself and to nothing else. A causal LM given this mask and these positions
computes for each token exactly what it computes in the separate sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROOT = -1  # the parent of a tree's first token


@dataclass(frozen=True, slots=True)
class Step:
    """The slots of one forward pass.

    ids (int64, (rows, width)): Tokens; 0 in padding.
    positions (int64, (rows, width)): Depths in the tree, from 0.
    visible (bool, (rows, width, start + width)): Which slots each token attends to.
    start (int): The first slot of the pass.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]
    start: int


@dataclass(frozen=True, slots=True)
class _Chain:
    """Tokens that follow each other; `above` says which slots before them they see."""

    first: int
    depth: int
    above: npt.NDArray[np.bool_]
    ids: Sequence[int]


class _Row:
    """One text's tree."""

    def __init__(self) -> None:
        self.filled = 0
        self.chains: list[_Chain] = []
        self.chain_of: list[int] = []  # slot -> place in `chains`, -1 for padding
        self.closed = 0  # chains of the passes before


class TreeBatch:
    """Token trees of several texts, a row each, grown pass by pass.

    A node is named by its slot in the row, which is also its place in the cache of
    keys and values. Rows are padded to one width at the end of each pass, so slots
    of all rows stay in step.
    """

    def __init__(self, rows: int) -> None:
        """Make empty trees.

        rows (int): Number of texts.
        """
        self._rows = [_Row() for _ in range(rows)]
        self.start = 0  # first slot of the pass that is being filled

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self._rows)

    def extend(self, row: int, parent: int, ids: Sequence[int]) -> int:
        """Hang a chain of tokens under a node; no two chains are ever merged.

        row (int): The text.
        parent (int): Slot of the parent, or ROOT.
        ids (Sequence[int]): The chain's tokens, at least one.
        RETURNS (int): Slot of the chain's last token; the others stand before it.
        """
        tree = self._rows[row]
        first, depth = tree.filled, 0
        above = np.zeros(first, dtype=np.bool_)
        if parent != ROOT:
            chain = tree.chains[tree.chain_of[parent]]
            above[: chain.first] = chain.above
            above[chain.first : parent + 1] = True
            depth = chain.depth + parent - chain.first + 1
        tree.chain_of += [len(tree.chains)] * len(ids)
        tree.chains.append(_Chain(first, depth, above, ids))
        tree.filled += len(ids)
        return tree.filled - 1

    def depth(self, row: int, slot: int) -> int:
        """A node's distance from its root in tokens."""
        tree = self._rows[row]
        chain = tree.chains[tree.chain_of[slot]]
        return chain.depth + slot - chain.first

    def filled(self, row: int) -> int:
        """The next free slot of a row."""
        return self._rows[row].filled

    def advance(self) -> Step:
        """Close the pass: pad the rows and give what was added since the last one."""
        start = self.start
        end = max(tree.filled for tree in self._rows)
        ids = np.zeros((self.rows, end - start), dtype=np.int64)
        positions = np.zeros_like(ids)
        visible = np.zeros((self.rows, end - start, end), dtype=np.bool_)
        for row, tree in enumerate(self._rows):
            for chain in tree.chains[tree.closed :]:
                size = len(chain.ids)
                a, b = chain.first - start, chain.first - start + size
                ids[row, a:b] = chain.ids
                positions[row, a:b] = np.arange(chain.depth, chain.depth + size)
                visible[row, a:b, : chain.first] = chain.above
                visible[row, a:b, chain.first : chain.first + size] = _triangle(size)
            # padding sees itself alone: no real token sees it, no softmax is empty
            pad = np.arange(tree.filled, end)
            visible[row, pad - start, pad] = True
            tree.chain_of += [-1] * len(pad)
            tree.closed = len(tree.chains)
            tree.filled = end
        self.start = end
        return Step(ids=ids, positions=positions, visible=visible, start=start)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows only, in this order."""
        self._rows = [self._rows[row] for row in rows]


_TRIANGLE = np.tril(np.ones((64, 64), dtype=np.bool_))


def _triangle(size: int) -> npt.NDArray[np.bool_]:
    """The causal mask inside one chain."""
    global _TRIANGLE
    if size > len(_TRIANGLE):
        _TRIANGLE = np.tril(np.ones((2 * size, 2 * size), dtype=np.bool_))
    return _TRIANGLE[:size, :size]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length in tokens of the longest common beginning of two token lists."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
