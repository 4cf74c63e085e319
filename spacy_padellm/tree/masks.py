"""What attends to what, as numbers to add to the scores of attention."""

from __future__ import annotations

import torch


def additive_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where something is visible, else the lowest number.

    visible (torch.Tensor): Booleans.
    dtype (torch.dtype): Of the mask.
    RETURNS (torch.Tensor): Of the same shape, on the same device.
    """
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)
