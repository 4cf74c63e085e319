"""Packed attention of a model whose layers lie on several devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from spacy_padellm.lm.attention.cascade import CascadeAttention
from spacy_padellm.lm.attention.packed import PackedAttention
from spacy_padellm.lm.attention.products import QKV


@dataclass(frozen=True, slots=True)
class SplitAttention:
    """The attention of a pass: each layer attends on its own device.

    parts (Mapping[torch.device, Callable[..., torch.Tensor]]): The same attention on
        each device, packed or in parts, with one KV cache.
    """

    parts: Mapping[torch.device, Callable[..., torch.Tensor]]

    def __call__(
        self, layer: int, qkv: QKV, scale: float, softcap: float | None = None
    ) -> torch.Tensor:
        """See `PackedAttention`."""
        return self.parts[qkv.query.device](layer, qkv, scale, softcap)


TreeAttention = PackedAttention | CascadeAttention | SplitAttention
