"""Attention over packed trees by plain products and by torch's fused attention."""

from __future__ import annotations

import pytest
import torch

from spacy_padellm.lm.attention.packed import packed_attention
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch, pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

HEADS, SHARED, SIZE = 6, 2, 16


def trees_of(*sizes: int) -> PackedBatch:
    """A first pass over trees with a branch each."""
    trees = []
    for size in sizes:
        tree = TokenTree(bidirectional_span=(0, size))
        tree.extend(tree.extend(ROOT, [1] * size), [1, 1])
        tree.extend(size - 1, [1])
        trees.append(tree)
    return pack(trees, 0)


def outputs_of(packed: PackedBatch, dtype: torch.dtype) -> list[torch.Tensor]:
    """Outputs without and with rounded scores, of the same queries."""
    generator = torch.Generator().manual_seed(0)

    def random(heads: int) -> torch.Tensor:
        shape = (len(packed.ids), heads, SIZE)
        return torch.randn(shape, generator=generator).to(dtype)

    qkv = QKV(random(HEADS), random(SHARED), random(SHARED))
    outputs = []
    for may_round in (False, True):
        cache = TreeKVCache()
        cache.reserve(*packed.used)
        slots = torch.from_numpy(cache.slot_mapping(packed.rows, packed.slots))
        attention = packed_attention(
            packed,
            cache,
            slots,
            dtype=dtype,
            tokens=len(slots),
            may_round=may_round,
        )
        outputs.append(attention(0, qkv, SIZE**-0.5))
    return outputs


def test_packed_rounded_scores_change_outputs_little() -> None:
    exact, rounded = outputs_of(trees_of(20, 7, 33, 33), torch.bfloat16)
    torch.testing.assert_close(rounded, exact, atol=0.03, rtol=0.03)
    assert not torch.equal(rounded, exact)


@pytest.mark.parametrize("sizes", [(40,), (150, 160)])
def test_packed_scores_are_not_rounded_where_that_is_slower(
    sizes: tuple[int, ...],
) -> None:
    exact, other = outputs_of(trees_of(*sizes), torch.bfloat16)
    assert torch.equal(other, exact)


def test_packed_float32_scores_are_never_rounded() -> None:
    exact, other = outputs_of(trees_of(20, 7, 33), torch.float32)
    assert torch.equal(other, exact)
