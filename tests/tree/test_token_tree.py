from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from spacy_padellm.lm.attention import packed as packed_attention
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.branches import common_prefix
from spacy_padellm.tree import token_tree
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree, pad_trees

# a row: passes, of chains, of (which node is the parent, number of tokens)
CHAINS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 6)), max_size=5)
ROWS = st.lists(st.lists(CHAINS, min_size=1, max_size=4), min_size=1, max_size=4)


def brute_force(parents: dict[int, int], slot: int) -> list[int]:
    """A node and its ancestors, the root first."""
    path = [slot]
    while parents[path[0]] != ROOT:
        path.insert(0, parents[path[0]])
    return path


def check(tree: TokenTree, parents: dict[int, int], slot: int, seen: list[int]) -> None:
    path = brute_force(parents, slot)
    assert seen == path
    assert tree.depth(slot) == len(path) - 1


def grow(
    tree: TokenTree, parents: dict[int, int], chains: list[tuple[int, int]]
) -> list[int]:
    """Hang chains anywhere; gives the new slots."""
    start = tree.filled
    for pick, size in chains:
        nodes = sorted(parents)
        parent = nodes[pick % len(nodes)] if nodes else ROOT
        first = tree.filled
        end = tree.extend(parent, list(range(1, size + 1)))
        assert end == first + size - 1
        for slot in range(first, end + 1):
            parents[slot] = parent if slot == first else slot - 1
    return list(range(start, tree.filled))


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_tree_packed_mask_and_positions_equal_ancestors(rows: list) -> None:
    trees = [TokenTree() for _ in rows]
    parents: list[dict[int, int]] = [{} for _ in rows]
    old = 0
    for place in range(max(map(len, rows))):
        # a new row joins in each pass, and each row has something new in it
        joined = min(len(rows), place + 1)
        kept = max((tree.filled for tree in trees[:old]), default=0)
        new = []
        for row in range(joined):
            chains = rows[row][place % len(rows[row])] or [(0, 1)]
            new.append(grow(trees[row], parents[row], chains))
        packed = pack(trees[:joined], old)
        assert packed.kept == (old, kept)
        old = joined
        assert packed.used[0] == joined
        token = 0
        for row, slots in enumerate(new):
            (group,) = [g for g in packed.groups if g.rows.start <= row < g.rows.stop]
            for offset, slot in enumerate(slots):
                seen = group.visible[row - group.rows.start, offset]
                check(trees[row], parents[row], slot, np.flatnonzero(seen).tolist())
                assert packed.positions[token] == trees[row].depth(slot)
                assert (packed.rows[token], packed.slots[token]) == (row, slot)
                padded = (row - group.rows.start) * group.width + offset
                within = token - group.packed.start
                if group.unpad is None or group.pad is None:
                    assert within == padded
                else:
                    assert group.unpad[within] == padded
                    assert group.pad[padded] == within
                token += 1
        assert token == len(packed.ids)


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_tree_side_by_side_equals_ancestors(rows: list) -> None:
    trees = [TokenTree() for _ in rows]
    parents: list[dict[int, int]] = [{} for _ in rows]
    for tree, known, passes in zip(trees, parents, rows, strict=True):
        grow(tree, known, [(0, 2), *(chain for chains in passes for chain in chains)])
    step = pad_trees(trees)
    for row, tree in enumerate(trees):
        for slot in range(step.ids.shape[1]):
            seen = np.flatnonzero(step.visible[row, slot]).tolist()
            if slot < tree.filled:
                check(tree, parents[row], slot, seen)
                assert step.positions[row, slot] == tree.depth(slot)
            else:
                assert seen == [slot]


def test_tree_logits_equal_separate_sequences(lm: LanguageModel) -> None:
    # two trees, the second of which joins in the second pass
    tree, other, cache = TokenTree(), TokenTree(), TreeKVCache()
    stem, left, right, alone = [5, 6, 7, 8], [9, 10], [11, 12, 13], [4, 3, 2, 1, 9]
    root = tree.extend(ROOT, stem)
    with torch.inference_mode():
        first, _ = lm.packed_logits(pack([tree], 0), [root], cache)
        ends = [tree.extend(root, left), tree.extend(root, right)]
        positions = [
            *(end - len(stem) for end in ends),
            4 + other.extend(ROOT, alone) + 1,
        ]
        second, _ = lm.packed_logits(pack([tree, other], 1), positions, cache)
        found = torch.cat((first, second))
        for row, ids in enumerate((stem, stem + left, stem + right, alone)):
            expected = lm.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


def test_tree_large_pass_equals_separate_sequence(llama: LanguageModel) -> None:
    # so many scores that the fused attention takes them
    ids = [5 + i % 300 for i in range(700)]
    tree = TokenTree()
    end = tree.extend(ROOT, ids)
    assert 4 * len(ids) ** 2 > packed_attention._FEW_SCORES
    with torch.inference_mode():
        found = llama.packed_logits(pack([tree], 0), [end], TreeKVCache())[0][0]
        expected = llama.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def write(cache: TreeKVCache, rows: list[int], slots: list[int]) -> torch.Tensor:
    """Put random keys and values in; gives the keys, which are half the values."""
    states = torch.randn(len(rows), 2, 4)
    places = torch.from_numpy(cache.slot_mapping(np.array(rows), np.array(slots)))
    for layer in range(2):
        keys, values = cache.write(layer, states, 2 * states, places)
        assert torch.equal(2 * keys, values)
    return states


def keys_of(cache: TreeKVCache, rows: list[int], slots: list[int]) -> torch.Tensor:
    nothing = torch.zeros(0, 2, 4)
    keys, _ = cache.write(1, nothing, nothing, torch.zeros(0, dtype=torch.long))
    return keys[rows, slots]


@pytest.mark.parametrize("size", [(2, 3), (9, 3), (2, 40), (60, 200)])
def test_tree_cache_grows_without_loss(size: tuple[int, int]) -> None:
    cache = TreeKVCache()
    cache.reserve(2, 3)
    rows, slots = [0, 0, 0, 1], [0, 1, 2, 1]
    states = write(cache, rows, slots)
    cache.reserve(*size)
    assert torch.equal(keys_of(cache, rows, slots), states)


def test_tree_cache_shrinks_without_loss() -> None:
    cache = TreeKVCache()
    cache.reserve(200, 200)
    states = write(cache, [0, 1], [2, 1])
    cache.reserve(2, 3)
    assert cache.rows * cache.slots < 200
    assert torch.equal(keys_of(cache, [0, 1], [2, 1]), states)


def test_tree_cache_rows_take_the_places_of_others() -> None:
    cache = TreeKVCache()
    cache.reserve(5, 4)
    states = write(cache, [0, 1, 2, 3, 3, 4], [0, 0, 0, 0, 1, 0])
    cache.move([3, 4], [0, 2], 2)
    found = keys_of(cache, [0, 0, 1, 2], [0, 1, 0, 0])
    assert torch.equal(found, states[[3, 4, 1, 5]])


def test_tree_cache_keeps_layers_of_several_shapes() -> None:
    cache = TreeKVCache()
    cache.reserve(3, 4)
    places = torch.tensor([0, cache.slots, 2 * cache.slots])
    layers = [torch.randn(3, *shape) for shape in ((2, 4), (1, 8), (2, 4))]
    for layer, states in enumerate(layers):
        cache.write(layer, states, 2 * states[..., :3], places)
    cache.reserve(5, 200)
    cache.move([2], [0], 1)
    cache.clear(1, 1)
    for layer, states in enumerate(layers):
        nothing = states[:0]
        none = torch.zeros(0, dtype=torch.long)
        keys, values = cache.write(layer, nothing, nothing[..., :3], none)
        zeros = torch.zeros_like(states[0])
        expected = torch.stack([states[2], zeros, states[2]])
        assert torch.equal(keys[:3, 0], expected)
        assert torch.equal(values[:3, 0], 2 * expected[..., :3])


def test_tree_cache_moves_rows_of_all_layers_at_once() -> None:
    cache = TreeKVCache()
    cache.reserve(2, 3)
    write(cache, [0, 1], [0, 0])
    cache.reserve(2, 200)
    with torch.profiler.profile() as profile:
        cache.move([1], [0], 1)
    assert sum(event.name == "aten::copy_" for event in profile.events()) == 1


@pytest.mark.parametrize(
    ("a", "b", "length"), [([], [1], 0), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2)]
)
def test_tree_common_prefix(a: list[int], b: list[int], length: int) -> None:
    assert common_prefix(a, b) == length


def test_token_tree_of_a_long_chain_leaves_no_large_mask_in_memory() -> None:
    for size in (1000, 1024, 3000, 70):
        tree = TokenTree()
        tree.extend(ROOT, [1] * size)
        visible = pad_trees([tree]).visible[0]
        assert np.array_equal(visible, np.tri(size, dtype=np.bool_))
    assert token_tree._TRIANGLE.nbytes <= 1024**2
