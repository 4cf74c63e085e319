"""Packed attention of a model whose layers lie on several devices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from spacy_padellm.lm.attention.cascade import CascadeAttention, cascade_attention
from spacy_padellm.lm.attention.packed import PackedAttention, packed_attention
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch


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


def tree_attention(
    packed: PackedBatch,
    cache: TreeKVCache,
    slots: torch.Tensor,
    *,
    dtype: torch.dtype,
    tokens: int,
    cascade: bool,
    devices: Collection[torch.device],
    may_round: bool = False,
) -> TreeAttention:
    """Prepare the attention of a pass, on each device that has layers.

    packed (PackedBatch): The pass.
    cache (TreeKVCache): The KV cache of its rows.
    slots (int64): (tokens without padding,), the slot of each token in the cache.
    dtype (torch.dtype): The dtype of the attention masks.
    tokens (int): The tokens of the pass, with its padding.
    cascade (bool): Whether the text and the branches are attended to apart.
    devices (Collection[torch.device]): Those of a model on several; empty on one.
    may_round (bool): See `packed_attention`.
    """

    def prepare(slots: torch.Tensor) -> PackedAttention | CascadeAttention:
        if cascade:
            return cascade_attention(packed, cache, slots)
        return packed_attention(
            packed, cache, slots, dtype=dtype, tokens=tokens, may_round=may_round
        )

    if not devices:
        return prepare(slots)
    return SplitAttention({on: prepare(slots.to(on)) for on in devices})
