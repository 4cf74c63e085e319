from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from spacy_padellm.kv_cache import TreeCache
from spacy_padellm.lm import LanguageModel
from spacy_padellm.tree import ROOT, TreeBatch, common_prefix

# a row: passes, of chains, of (which node is the parent, number of tokens)
CHAINS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 6)), max_size=5)
ROWS = st.lists(st.lists(CHAINS, min_size=1, max_size=4), min_size=1, max_size=4)


def brute_force(parents: dict[int, int], slot: int) -> list[int]:
    """A node and its ancestors, the root first."""
    path = [slot]
    while parents[path[0]] != ROOT:
        path.insert(0, parents[path[0]])
    return path


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_tree_mask_and_positions_equal_ancestors(rows: list) -> None:
    passes = max(map(len, rows))
    batch = TreeBatch(len(rows))
    parents: list[dict[int, int]] = [{} for _ in rows]
    for place in range(passes):
        start = batch.start
        for row, chains in enumerate(rows):
            for pick, size in chains[place] if place < len(chains) else []:
                nodes = sorted(parents[row])
                parent = nodes[pick % len(nodes)] if nodes else ROOT
                first = batch.filled(row)
                end = batch.extend(row, parent, list(range(1, size + 1)))
                assert end == first + size - 1
                for slot in range(first, end + 1):
                    parents[row][slot] = parent if slot == first else slot - 1
        step = batch.advance()
        assert step.start == start
        for row in range(len(rows)):
            for offset in range(step.ids.shape[1]):
                seen = np.flatnonzero(step.visible[row, offset]).tolist()
                slot = start + offset
                if slot not in parents[row]:
                    assert seen == [slot]
                    continue
                path = brute_force(parents[row], slot)
                assert seen == path
                assert step.positions[row, offset] == len(path) - 1
                assert batch.depth(row, slot) == len(path) - 1


def test_tree_select_keeps_rows_in_order() -> None:
    batch = TreeBatch(3)
    for row in range(3):
        batch.extend(row, ROOT, [row + 1] * (row + 1))
    batch.advance()
    batch.select([2, 0])
    batch.extend(0, 2, [7])
    batch.extend(1, 0, [8])
    step = batch.advance()
    assert step.ids.tolist() == [[7], [8]]
    assert step.positions.tolist() == [[3], [1]]


def test_tree_logits_equal_separate_sequences(lm: LanguageModel) -> None:
    batch, cache = TreeBatch(1), TreeCache(4)
    stem, left, right = [5, 6, 7, 8], [9, 10], [11, 12, 13]
    root = batch.extend(0, ROOT, stem)
    first = lm.logits(batch.advance(), [root], cache=cache)
    ends = [batch.extend(0, root, left), batch.extend(0, root, right)]
    step = batch.advance()
    reads = [end - step.start for end in ends]
    second = lm.logits(step, reads, cache=cache)
    found = torch.cat((first, second))
    for row, ids in enumerate((stem, stem + left, stem + right)):
        with torch.inference_mode():
            wanted = lm.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=1e-4)


def test_tree_cache_grows_without_loss() -> None:
    cache = TreeCache(2)
    states = torch.randn(1, 2, 9, 4)
    for start, end in ((0, 2), (2, 3), (3, 9)):
        for layer in range(2):
            keys, values = cache.update(
                states[:, :, start:end], 2 * states[:, :, start:end], layer
            )
            assert torch.equal(keys, states[:, :, :end])
            assert torch.equal(values, 2 * states[:, :, :end])
    assert cache.get_seq_length() == 9


@pytest.mark.parametrize(
    ("a", "b", "length"), [([], [1], 0), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2)]
)
def test_tree_common_prefix(a: list[int], b: list[int], length: int) -> None:
    assert common_prefix(a, b) == length
