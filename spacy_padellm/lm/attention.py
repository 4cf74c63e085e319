"""Attention over packed trees, for every model that uses transformers' interface.

During a forward pass each layer of the model calls `attend`. It writes the new keys and
values to the KV cache, and computes attention row by row under the mask of the trees.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from spacy_padellm.compat import attention_name, swapped_attention
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch

NAME = "padellm_tree"
# on a CPU, plain products are faster than fused attention up to this many scores
_FEW_SCORES = 1 << 20
# and their backward pass is faster for trees up to this width, in tokens
_NARROW = 256
_running = threading.local()


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Adjacent rows of a batch, padded to one width, on the device; see `RowGroup`.

    rows, packed (slice): Rows of the cache, and tokens of the packed batch.
    width, slots (int): New tokens per row, and slots that they may attend to.
    mask (torch.Tensor): (rows, 1, width, slots), added to the attention scores.
    pad, unpad (torch.Tensor | None): Indices that turn packed tokens into padded rows,
        and back.
    """

    rows: slice
    packed: slice
    width: int
    slots: int
    mask: torch.Tensor
    pad: torch.Tensor | None = None
    unpad: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PackedAttention:
    """The attention of a pass over packed trees.

    cache (TreeKVCache): The KV cache, with room for the tokens of the pass.
    slot_mapping (torch.Tensor): The index in the cache of each token of the pass.
    blocks (Sequence[AttentionBlock]): Which tokens attend to which slots.
    """

    cache: TreeKVCache
    slot_mapping: torch.Tensor
    blocks: Sequence[AttentionBlock]

    def __call__(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        softcap: float | None = None,
    ) -> torch.Tensor:
        """Write keys and values to the cache, and compute the attention of a layer.

        query, key, value (torch.Tensor): (tokens, heads, head size).
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        keys, values = self.cache.write(layer, key, value, self.slot_mapping)
        outputs = [
            _attend_block(query, keys, values, block, scale, softcap)
            for block in self.blocks
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


@dataclass(frozen=True, slots=True)
class PaddedAttention:
    """The attention of a pass over padded trees, as in training.

    mask (torch.Tensor): (rows, 1, width, width), added to the attention scores.
    """

    mask: torch.Tensor

    def __call__(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Compute the attention of a layer.

        query, key, value (torch.Tensor): (rows * width, heads, head size).
        RETURNS (torch.Tensor): (rows * width, heads, head size).
        """
        rows, _, width, _ = self.mask.shape
        keys = key.reshape(rows, width, *key.shape[1:])
        values = value.reshape(rows, width, *value.shape[1:])
        plain = query.device.type == "cpu" and width <= _NARROW
        return _attend_rows(query, keys, values, self.mask, scale, plain=plain)


def training_attention(model: Any, width: int) -> AbstractContextManager[None]:
    """Let a model use its fastest attention for a pass with gradients.

    On a CPU the backward pass of fused attention with a mask is slow.

    model (transformers.PreTrainedModel): The model.
    width (int): The trees' width in tokens, padded.
    """
    config = model.config
    # the sdpa attention of transformers ignores soft-capping, and so does decoding then
    softcaps = getattr(config, "attn_logit_softcapping", None) is not None
    # checkpointing computes the pass again later, when this attention is not set
    if (
        attention_name(config) != "sdpa"
        or model.device.type != "cpu"
        or width > _NARROW
        or softcaps
        or model.is_gradient_checkpointing
    ):
        return nullcontext()
    return swapped_attention(config, "eager")


def packed_attention(
    packed: PackedBatch, cache: TreeKVCache, *, device: Any, dtype: torch.dtype
) -> PackedAttention:
    """Prepare the attention of a pass over a packed batch.

    packed (PackedBatch): The batch.
    cache (TreeKVCache): Keys and values of earlier passes; this pass adds its own.
    device (Any): The model's device.
    dtype (torch.dtype): The dtype of the attention mask.
    """
    cache.reserve(*packed.used)
    slot_mapping = cache.slot_mapping(packed.rows, packed.slots).to(device)
    blocks = []
    for group in packed.groups:
        visible = torch.from_numpy(group.visible).to(device)
        mask = additive_mask(visible, dtype)[:, None]
        pad = None if group.pad is None else torch.from_numpy(group.pad).to(device)
        unpad = None
        if group.unpad is not None:
            unpad = torch.from_numpy(group.unpad).to(device)
        size = group.rows, group.packed, group.width, group.slots
        blocks.append(AttentionBlock(*size, mask, pad, unpad))
    return PackedAttention(cache, slot_mapping, blocks)


@contextmanager
def used_by(config: Any, attention: PackedAttention) -> Iterator[None]:
    """Let a model of transformers attend to the rows of a cache.

    config (transformers.PretrainedConfig): The model's config.
    attention (PackedAttention): The attention.
    """
    # the sdpa attention of transformers ignores soft-capping
    _running.attention = attention
    _running.softcaps = attention_name(config) != "sdpa"
    try:
        with swapped_attention(config, NAME):
            yield
    finally:
        del _running.attention


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute the attention of packed tokens, as transformers' interface asks for.

    query, key, value (torch.Tensor): (1, heads, tokens, head size).
    RETURNS (tuple[torch.Tensor, None]): The output (1, tokens, heads, head size);
        attention weights are not returned.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    softcap = softcap if _running.softcaps else None
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    output: torch.Tensor = _running.attention(module.layer_idx, q, k, v, scale, softcap)
    return output[None], None


AttentionInterface.register(NAME, attend)


def _attend_block(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block: AttentionBlock,
    scale: float,
    softcap: float | None,
) -> torch.Tensor:
    """Compute the attention of one block: (tokens, heads, head size)."""
    new = query[block.packed]
    if block.pad is not None:
        new = new[block.pad]
    used = (block.rows, slice(block.slots))
    few = block.mask.numel() * new.shape[1] <= _FEW_SCORES
    plain = softcap is not None or (few and new.device.type == "cpu")
    out = _attend_rows(
        new, keys[used], values[used], block.mask, scale, softcap, plain=plain
    )
    return out if block.unpad is None else out[block.unpad]


def _attend_rows(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
    softcap: float | None = None,
    *,
    plain: bool,
) -> torch.Tensor:
    """Compute the attention of padded rows.

    query (torch.Tensor): (rows * width, heads, head size).
    keys, values (torch.Tensor): (rows, slots, shared heads, head size).
    mask (torch.Tensor): (rows, 1, width, slots).
    scale, softcap: Of the scores.
    plain (bool): Whether to use plain products instead of fused attention.
    RETURNS (torch.Tensor): (rows * width, heads, head size).
    """
    count, _, width, slots = mask.shape
    heads, size = query.shape[1:]
    shared = keys.shape[2]
    k, v = keys.transpose(1, 2), values.transpose(1, 2)
    # query heads that share keys are treated as further tokens
    times = heads // shared
    q = query.reshape(count, width, shared, times, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(count, shared, times * width, size)
    if plain:
        scores = (q @ k.transpose(2, 3)).view(count, shared, times, width, slots)
        if softcap is not None:
            scores, scale = torch.tanh(scores * (scale / softcap)), softcap
        scores = torch.add(mask[:, :, None], scores, alpha=scale)
        # softmax computes in float32 in any case
        out = scores.softmax(dim=-1).view(count, shared, times * width, slots) @ v
    else:
        repeated = mask if times == 1 else mask.repeat(1, 1, times, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=repeated, scale=scale)
    size = out.shape[-1]
    out = out.view(count, shared, times, width, size).permute(0, 3, 1, 2, 4)
    return out.reshape(count * width, heads, size)
