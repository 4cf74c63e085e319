"""Copy numbers to the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def upload(parts: Sequence[Any], device: torch.device) -> list[torch.Tensor]:
    """Copy several lists of integers to a device in one transfer.

    On a GPU, the caller does not wait for the transfer.

    parts (Sequence[Any]): Lists or arrays of integers.
    device (torch.device): The device.
    RETURNS (list[torch.Tensor]): int64, with the shapes of the parts.
    """
    arrays = [np.asarray(part, dtype=np.int64) for part in parts]
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    pieces = send(flat, device).split([array.size for array in arrays])
    return [
        piece.view(array.shape) for piece, array in zip(pieces, arrays, strict=True)
    ]


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device; on a GPU, the caller does not wait."""
    # torch pins no tensor of a GPU, such as one made under `set_default_device`
    if device.type != "cuda" or tensor.device.type != "cpu" or not tensor.numel():
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
