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
class _State:
    cache: TreeKVCache
    slot_mapping: torch.Tensor
    blocks: Sequence[AttentionBlock]
    softcaps: bool


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
    config: Any,
    packed: PackedBatch,
    cache: TreeKVCache,
    *,
    device: Any,
    dtype: torch.dtype,
) -> AbstractContextManager[None]:
    """Prepare a model's attention for the forward pass over a packed batch.

    config (transformers.PretrainedConfig): The model's config.
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
    return attention_of(config, blocks, cache, slot_mapping)


@contextmanager
def attention_of(
    config: Any,
    blocks: Sequence[AttentionBlock],
    cache: TreeKVCache,
    slot_mapping: torch.Tensor,
) -> Iterator[None]:
    """Let a model attend to the rows of a cache.

    config (transformers.PretrainedConfig): The model's config.
    blocks (Sequence[AttentionBlock]): Which tokens attend to which slots.
    cache (TreeKVCache): The KV cache, with room for the tokens of the pass.
    slot_mapping (torch.Tensor): The index in the cache of each token of the pass.
    """
    # the sdpa attention of transformers ignores soft-capping
    softcaps = attention_name(config) != "sdpa"
    _running.state = _State(cache, slot_mapping, blocks, softcaps=softcaps)
    try:
        with swapped_attention(config, NAME):
            yield
    finally:
        del _running.state


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
    state: _State = _running.state
    keys, values = state.cache.write(module.layer_idx, key, value, state.slot_mapping)
    query = query[0].transpose(0, 1)
    softcap = softcap if state.softcaps else None
    outputs = [
        _attend_block(query, keys, values, block, scaling, softcap)
        for block in state.blocks
    ]
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return output[None], None


AttentionInterface.register(NAME, attend)


def _attend_block(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block: AttentionBlock,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Compute the attention of one block: (tokens, heads, head size)."""
    new = query[block.packed]
    if block.pad is not None:
        new = new[block.pad]
    count = block.rows.stop - block.rows.start
    heads, size = new.shape[1:]
    shared = keys.shape[2]
    k = keys[block.rows, : block.slots].transpose(1, 2)
    v = values[block.rows, : block.slots].transpose(1, 2)
    # query heads that share keys are treated as further tokens
    times = heads // shared
    q = new.view(count, block.width, shared, times, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(count, shared, times * block.width, size)
    mask = block.mask if times == 1 else block.mask.repeat(1, 1, times, 1)
    scale = size**-0.5 if scaling is None else scaling
    scores = count * heads * block.width * block.slots
    if softcap is None and (q.device.type != "cpu" or scores > _FEW_SCORES):
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    else:
        weights = (q @ k.transpose(2, 3)).float() * scale
        if softcap is not None:
            weights = torch.tanh(weights / softcap) * softcap
        out = (weights + mask).softmax(dim=-1).to(q.dtype) @ v
    size = out.shape[-1]
    out = out.view(count, shared, times, block.width, size).permute(0, 3, 1, 2, 4)
    out = out.reshape(count * block.width, heads, size)
    return out if block.unpad is None else out[block.unpad]
