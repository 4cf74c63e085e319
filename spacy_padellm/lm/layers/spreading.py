"""Spread large inputs of a product over their neighbours, before they are rounded.

A few channels of the hidden states of an LLM are much larger than the others, and would
leave them few of the 256 values of an 8-bit number. Multiplied by a Hadamard matrix,
some neighbouring channels share what is large (QuaRot, Ashkboos et al., 2024). With
weights that are multiplied, too, the product stays the same.
"""

from __future__ import annotations

import math

import torch

# neighbours; larger matrices take more time, and QuaRot's would take all of them
_MOST = 64


def spreading(size: int) -> torch.Tensor:
    """Get the matrix by which to spread channels.

    size (int): The number of channels.
    RETURNS (float32): (neighbours, neighbours), orthogonal and symmetric. The number of
        neighbours is a power of two that divides `size`, 64 at most.
    """
    matrix = torch.ones(1, 1, dtype=torch.float32, device="cpu")
    while len(matrix) < _MOST and size % (2 * len(matrix)) == 0:
        above, below = torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)
        matrix = torch.cat([above, below])
    return matrix / math.sqrt(len(matrix))


def spread(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Spread channels over their neighbours.

    x (torch.Tensor): (rows, channels).
    matrix (torch.Tensor): See `spreading`; of the dtype of `x`.
    RETURNS (torch.Tensor): (rows, channels).
    """
    return (x.reshape(-1, len(matrix)) @ matrix).view(x.shape)
