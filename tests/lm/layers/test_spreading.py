from __future__ import annotations

import pytest
import torch

from spacy_padellm.lm.layers.spreading import spread, spreading


@pytest.mark.parametrize(
    ("size", "neighbours"), [(576, 64), (2048, 64), (48, 16), (36, 4), (7, 1)]
)
def test_spreading_takes_neighbours_that_divide_the_channels(
    size: int, neighbours: int
) -> None:
    assert spreading(size).shape == (neighbours, neighbours)


@pytest.mark.parametrize("size", [576, 48, 7])
def test_spreading_leaves_products_as_they_are(size: int) -> None:
    torch.manual_seed(0)
    x, weight, matrix = torch.randn(3, size), torch.randn(5, size), spreading(size)
    product = spread(x, matrix) @ spread(weight, matrix).T
    torch.testing.assert_close(product, x @ weight.T, rtol=1e-4, atol=1e-4)


def test_spreading_shares_a_large_channel_among_its_neighbours() -> None:
    x = torch.zeros(2, 192)
    x[1, 70] = 8.0
    found = spread(x, spreading(192))
    assert not found[0].any()
    assert (found[1, 64:128].abs() == 1).all()
    assert not found[1, :64].any()
    assert not found[1, 128:].any()


def test_spreading_does_not_depend_on_the_default_dtype() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert spreading(48).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
