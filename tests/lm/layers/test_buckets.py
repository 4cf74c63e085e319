from __future__ import annotations

import torch
from hypothesis import given, strategies as st

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.layers.buckets import bucket, fill_bucket
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree


@given(st.integers(0, 100_000))
def test_buckets_add_at_most_an_eighth(size: int) -> None:
    assert size <= bucket(size) < max(size * 1.125, size + 4)


def test_buckets_are_few() -> None:
    assert len({bucket(size) for size in range(1, 1025)}) < 50


def test_buckets_are_filled_with_zeros() -> None:
    assert fill_bucket([5, 6, 7]).tolist() == [5, 6, 7, 0]
    assert fill_bucket([]).tolist() == []


def test_buckets_change_no_logits(lm: LanguageModel) -> None:
    # both read the same tokens in bfloat16; only the second pads them
    tree = TokenTree()
    end = tree.extend(ROOT, [5, 6, 7, 8, 9])
    packed = pack([tree], 0)
    lm.model.to(torch.bfloat16)
    try:
        with torch.inference_mode():
            found, tags = lm.packed_logits(
                packed, [end, 2], TreeKVCache(), tag_positions=[1], tag_ids=[3, 4]
            )
            sequence = torch.tensor([[5, 6, 7, 8, 9]])
            expected = lm.model(sequence, use_cache=False).logits[0, [4, 2]]
    finally:
        lm.model.to(torch.float32)
    assert found.shape == expected.shape
    assert tags.shape == (1, 2)
    assert (found - expected).norm() < 0.03 * expected.norm()
