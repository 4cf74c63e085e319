"""The parts of attention, against the masks of whole trees."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st

from spacy_padellm.tree.cascade_parts import Ragged, cascade
from spacy_padellm.tree.packing import PackedBatch, pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

# passes, of chains, of (which node is the parent, number of tokens)
PASSES = st.lists(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 5)), max_size=4),
    min_size=1,
    max_size=3,
)
# a prefix of some tokens, where its bidirectional part begins, and what follows
TREES = st.lists(
    st.tuples(st.integers(1, 8), st.none() | st.integers(0, 7), PASSES),
    min_size=1,
    max_size=4,
)


def grown(trees: list[tuple]) -> list[PackedBatch]:
    """The passes of trees; one more joins in each pass."""
    made = []
    for size, start, _ in trees:
        span = (0, 0) if start is None or start >= size else (start, size)
        made.append(TokenTree(bidirectional_span=span))
    passes = []
    for number in range(max(len(chains) for *_, chains in trees) + len(trees) - 1):
        joined = min(len(trees), number + 1)
        for (size, _, chains), tree in zip(trees[:joined], made, strict=False):
            if not tree.filled:
                tree.extend(ROOT, [1] * size)
            for parent, length in chains[number % len(chains)] or [(0, 1)]:
                # most branches begin at the end of the prefix
                low = size - 1 if parent % 5 else 0
                tree.extend(low + parent % (tree.filled - low), [1] * length)
        passes.append(pack(made[:joined], min(number, len(trees))))
    return passes


def seen_in(packed: PackedBatch) -> np.ndarray:
    """What each token of a batch attends to: (tokens, rows, slots)."""
    rows, slots = packed.used
    seen = np.zeros((len(packed.ids), rows, slots), dtype=int)
    for group in packed.groups:
        for token in range(group.packed.start, group.packed.stop):
            row = packed.rows[token]
            offset = token - packed.starts[row]
            mask = group.visible[row - group.rows.start, offset]
            seen[token, row, : len(mask)] = mask
    return seen


def add_ragged(seen: np.ndarray, part: Ragged, *, causal: bool) -> None:
    token = key = 0
    for tokens, keys in zip(part.token_counts, part.key_counts, strict=True):
        for n, query in enumerate(part.tokens[token : token + tokens]):
            last = key + (n + 1 if causal else keys)
            np.add.at(seen, (query, part.rows[key:last], part.slots[key:last]), 1)
        assert not causal or tokens == keys
        token, key = token + tokens, key + keys


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_cascade_parts_attend_once_to_what_the_tree_shows(trees: list) -> None:
    for packed in grown(trees):
        parts, seen = cascade(packed), np.zeros_like(seen_in(packed))
        add_ragged(seen, parts.causal, causal=True)
        add_ragged(seen, parts.bidirectional, causal=False)
        add_ragged(seen, parts.to_prefix, causal=False)
        own = parts.branches
        if own is not None:
            count, width, size = own.visible.shape
            rows, slots = own.rows.reshape(count, size), own.slots.reshape(count, size)
            assert own.pad[own.unpad].tolist() == own.tokens.tolist()
            for token, place in zip(own.tokens, own.unpad, strict=True):
                row, offset = divmod(place, width)
                mask = own.visible[row, offset]
                np.add.at(seen, (token, rows[row][mask], slots[row][mask]), 1)
        np.testing.assert_array_equal(seen, seen_in(packed))


def test_cascade_parts_prefix_is_shared_by_all_branches() -> None:
    tree = TokenTree()
    end = tree.extend(ROOT, [1, 2, 3])
    tree.extend(end, [4])
    assert (tree.shared_prefix, tree.causal_prefix) == (3, 3)
    tree.extend(1, [5])
    assert (tree.shared_prefix, tree.causal_prefix) == (2, 2)


def test_cascade_parts_prefix_of_a_prefix_lm_ends_with_its_text() -> None:
    tree = TokenTree(bidirectional_span=(1, 3))
    end = tree.extend(ROOT, [1, 2, 3, 4])
    tree.extend(end, [5])
    assert (tree.shared_prefix, tree.causal_prefix) == (3, 1)
    tree.extend(1, [5])
    assert (tree.shared_prefix, tree.causal_prefix) == (0, 0)


def test_cascade_parts_needs_no_mask_for_the_prefix() -> None:
    tree = TokenTree()
    end = tree.extend(ROOT, [1] * 50)
    tree.extend(end, [2, 3])
    first = cascade(pack([tree], 0))
    assert (first.causal.key_counts, first.to_prefix.key_counts) == ([50], [50])
    assert first.branches is not None
    assert first.branches.visible.shape == (1, 2, 2)
