"""Attention over packed trees, for all models that use transformers' interface.

A model in a pass calls `attend` in each of its layers. It writes the new keys and
values to the rows' cache, and attends row by row under the tree's mask.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch

NAME = "padellm_tree"
# up to here plain products are faster on a CPU than the fused attention
_FEW_SCORES = 1 << 20
_running = threading.local()


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Neighbouring rows of a pass, padded to one width, on the device; see `RowGroup`.

    rows, packed (slice): The rows of the cache, and the tokens of the pass.
    width, slots (int): New tokens of a row, and slots that they may see.
    mask (torch.Tensor): (rows, 1, width, slots), numbers to add to the scores.
    pad, unpad (torch.Tensor | None): Where tokens stand in rows, and back.
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


def packed_attention(
    config: Any,
    packed: PackedBatch,
    cache: TreeKVCache,
    *,
    device: Any,
    dtype: torch.dtype,
) -> AbstractContextManager[None]:
    """Let the model of a config read a pass.

    config (transformers.PretrainedConfig): The model's.
    packed (PackedBatch): The pass.
    cache (TreeKVCache): Keys and values of the passes before; takes those of this one.
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
        held = group.rows, group.packed, group.width, group.slots
        blocks.append(AttentionBlock(*held, mask, pad, unpad))
    return attention_of(config, blocks, cache, slot_mapping)


@contextmanager
def attention_of(
    config: Any,
    blocks: Sequence[AttentionBlock],
    cache: TreeKVCache,
    slot_mapping: torch.Tensor,
) -> Iterator[None]:
    """Let the model of a config attend to the rows of a cache.

    config (transformers.PretrainedConfig): The model's.
    blocks (Sequence[AttentionBlock]): What attends to what.
    cache (TreeKVCache): Keys and values, with room for those of the pass.
    slot_mapping (torch.Tensor): Where the cache keeps each token of the pass.
    """
    before = config._attn_implementation
    # transformers' own sdpa attention leaves out the capping of scores
    _running.state = _State(cache, slot_mapping, blocks, softcaps=before != "sdpa")
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
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
    """Attention of packed tokens: an implementation of transformers' interface.

    query, key, value (torch.Tensor): (1, heads, tokens, head size).
    RETURNS (tuple[torch.Tensor, None]): (1, tokens, heads, head size), and no weights.
    """
    state: _State = _running.state
    keys, values = state.cache.write(module.layer_idx, key, value, state.slot_mapping)
    query = query[0].transpose(0, 1)
    softcap = softcap if state.softcaps else None
    found = [
        _attend_block(query, keys, values, block, scaling, softcap)
        for block in state.blocks
    ]
    output = found[0] if len(found) == 1 else torch.cat(found)
    return output[None], None


ALL_ATTENTION_FUNCTIONS[NAME] = attend


def _attend_block(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block: AttentionBlock,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of a block: (tokens, heads, head size)."""
    new = query[block.packed]
    if block.pad is not None:
        new = new[block.pad]
    count = block.rows.stop - block.rows.start
    heads, size = new.shape[1:]
    shared = keys.shape[2]
    k = keys[block.rows, : block.slots].transpose(1, 2)
    v = values[block.rows, : block.slots].transpose(1, 2)
    # query heads that share keys stand one after the other as further tokens
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
