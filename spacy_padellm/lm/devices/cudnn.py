"""Attention by cuDNN, which is slow for token trees."""

from __future__ import annotations

import torch

from spacy_padellm.errors import Warnings, logger

_switched_off = False


def switch_off_cudnn_attention(device: torch.device) -> None:
    """Keep torch from attention by cuDNN, once in a process, at the first GPU.

    torch prefers cuDNN on some GPUs. It makes a plan for each new shape, and passes
    over token trees have ever new shapes. A user may switch it on again after that.

    device (torch.device): Nothing is done for a CPU.
    """
    global _switched_off
    if _switched_off or device.type != "cuda":
        return
    _switched_off = True
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)
        logger.debug(Warnings.W974)
