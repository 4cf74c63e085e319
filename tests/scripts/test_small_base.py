"""The embeddings of a small model (scripts/small_base.py)."""

from __future__ import annotations

import torch
from conftest import make_lm
from small_base import CONTEXTS, DEPTHS, components, make_small, meanings


def test_small_base_meanings_are_those_of_single_tokens() -> None:
    lm = make_lm("llama")
    ids = lm.tokenizer.encode("Angela Merkel met Angela")
    vectors = meanings(lm, ids)
    width = lm.model.config.hidden_size
    assert vectors.shape == (len(ids), len(CONTEXTS) * len(DEPTHS) * width)
    same = [i for i, token in enumerate(ids) if token == ids[0]]
    for i in range(len(ids)):
        alone = meanings(lm, [ids[i]])
        torch.testing.assert_close(vectors[i : i + 1], alone)
        assert torch.allclose(vectors[i], vectors[0]) == (i in same)


def test_small_base_components_keep_the_neighbours() -> None:
    torch.manual_seed(0)
    centres = torch.randn(8, 40)
    vectors = centres.repeat(5, 1) + 0.05 * torch.randn(40, 40)
    reduced = components(vectors, 8)
    assert reduced.shape == (40, 8)
    nearest = torch.cdist(reduced, reduced).fill_diagonal_(9.0).argmin(dim=1)
    assert (nearest % 8 == torch.arange(40) % 8).all()


def test_small_base_has_the_tokens_of_its_tokenizer() -> None:
    tokenizer = make_lm("llama").tokenizer
    model = make_small(tokenizer)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert model.config.tie_word_embeddings
