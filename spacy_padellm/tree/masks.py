"""Additive attention masks."""

from __future__ import annotations

import torch


def additive_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Make a mask of 0 where something is visible, and the lowest number elsewhere.

    visible (torch.Tensor): Booleans of any shape.
    dtype (torch.dtype): The dtype of the mask.
    RETURNS (torch.Tensor): The mask, with the same shape and on the same device.
    """
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def aligned(mask: torch.Tensor) -> torch.Tensor:
    """Copy a mask so that its rows begin at multiples of eight numbers.

    Fused attention on a GPU asks for that, and would copy other masks in each layer.

    mask (torch.Tensor): The mask.
    RETURNS (torch.Tensor): The mask itself on a CPU.
    """
    if mask.device.type == "cpu":
        return mask
    size = mask.shape[-1]
    room = mask.new_empty(*mask.shape[:-1], -(-size // 8) * 8)
    return room[..., :size].copy_(mask)
