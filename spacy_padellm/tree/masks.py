"""Additive attention masks."""

from __future__ import annotations

import torch


def additive_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Make a mask of 0 where something is visible, and the lowest number elsewhere.

    visible (torch.Tensor): Booleans.
    dtype (torch.dtype): The dtype of the mask.
    RETURNS (torch.Tensor): The mask, with the same shape and on the same device.
    """
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)
