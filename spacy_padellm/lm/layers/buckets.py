"""Sizes of products that oneDNN has kernels for already.

oneDNN compiles a bfloat16 product at the first use of each size. That takes ten times
as long as the product, and each pass would have a size of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

Numbers: TypeAlias = Sequence[int] | npt.NDArray[np.int64] | torch.Tensor


def bucket(size: int) -> int:
    """Round up to one of at most eight sizes between two powers of two."""
    step = max(4, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def fill_bucket(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Append zeros up to the next size; nothing is appended to an empty list.

    numbers (int64, (count,)): The numbers, on the CPU.
    RETURNS (int64, (size,)): The numbers, and zeros.
    """
    count = len(numbers)
    filled = np.zeros(bucket(count), dtype=np.int64)  # np.pad takes ten times as long
    filled[:count] = numbers
    return filled
