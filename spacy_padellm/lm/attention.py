"""Attention over packed trees, for every model that uses transformers' interface.

During a forward pass each layer of the model calls `attend`. It writes the new keys and
values to the KV cache, and computes attention row by row under the mask of the trees.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from spacy_padellm.compat import attention_name, swapped_attention
from spacy_padellm.lm.upload import send, upload
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask, aligned
from spacy_padellm.tree.packing import PackedBatch

NAME = "padellm_tree"
# on a CPU, plain float32 products are faster than fused attention up to this many
# scores; plain bfloat16 products would be compiled for each size
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
    repeated: dict[int, torch.Tensor] = field(default_factory=dict)

    def repeated_mask(self, times: int) -> torch.Tensor:
        """The mask of query heads that share keys; made once for all layers."""
        return _repeated(self.mask, times, self.repeated)


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

        query, key, value (torch.Tensor): (tokens, heads, head size). Tokens beyond
            those of the pass are padding.
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        count = len(self.slot_mapping)
        keys, values = self.cache.write(
            layer, key[:count], value[:count], self.slot_mapping
        )
        outputs = [
            _attend_block(query, keys, values, block, scale, softcap)
            for block in self.blocks
        ]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        extra = len(query) - count
        return F.pad(output, (0, 0, 0, 0, 0, extra)) if extra else output


@dataclass(frozen=True, slots=True)
class PaddedAttention:
    """The attention of a pass over padded trees, as in training.

    mask (torch.Tensor): (rows, 1, width, width), added to the attention scores.
    """

    mask: torch.Tensor
    repeated: dict[int, torch.Tensor] = field(default_factory=dict)

    def __call__(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Compute the attention of a layer.

        query, key, value (torch.Tensor): (tokens, heads, head size). Tokens beyond
            rows * width are padding.
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        rows, _, width, _ = self.mask.shape
        count, extra = rows * width, len(query) - rows * width
        keys = key[:count].reshape(rows, width, *key.shape[1:])
        values = value[:count].reshape(rows, width, *value.shape[1:])
        output = self._attend(query[:count], keys, values, scale)
        return F.pad(output, (0, 0, 0, 0, 0, extra)) if extra else output

    def _attend(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        width = self.mask.shape[2]
        if query.device.type == "cpu" and width <= _NARROW:
            return _attend_plainly(query, keys, values, self.mask, scale)
        # one for all layers: each would be kept until the backward pass
        mask = _repeated(self.mask, query.shape[1] // keys.shape[2], self.repeated)
        return _attend_fused(query, keys, values, mask, scale)


def training_attention(
    model: Any, width: int, *, causal: bool
) -> AbstractContextManager[None]:
    """Let a model use its fastest attention for a pass with gradients.

    On a CPU the backward pass of fused attention with a mask is slow.

    model (transformers.PreTrainedModel): The model.
    width (int): The trees' width in tokens, padded.
    causal (bool): Whether no token attends to a later one.
    """
    config = model.config
    # the sdpa attention of transformers ignores soft-capping, and so does decoding then
    softcaps = getattr(config, "attn_logit_softcapping", None) is not None
    # checkpointing computes the pass again later, when this attention is not set
    if (
        attention_name(config) != "sdpa"
        or model.device.type != "cpu"
        or width > _NARROW
        # the eager attention of GPT-2 masks later tokens whatever the mask says
        or not causal
        or softcaps
        or model.is_gradient_checkpointing
    ):
        return nullcontext()
    return swapped_attention(config, "eager")


def packed_attention(
    packed: PackedBatch,
    cache: TreeKVCache,
    slot_mapping: torch.Tensor,
    *,
    dtype: torch.dtype,
) -> PackedAttention:
    """Prepare the attention of a pass over a packed batch.

    packed (PackedBatch): The batch.
    cache (TreeKVCache): Keys and values of earlier passes, with room for this one's.
    slot_mapping (torch.Tensor): The index in the cache of each token of the pass, on
        the model's device.
    dtype (torch.dtype): The dtype of the attention mask.
    """
    device, groups = slot_mapping.device, packed.groups
    # two transfers for all groups
    visible = np.concatenate([group.visible.ravel() for group in groups])
    masks = send(torch.from_numpy(visible), device).split(
        [group.visible.size for group in groups]
    )
    padding = [part for group in groups for part in (group.pad, group.unpad)]
    indices = upload([[] if part is None else part for part in padding], device)
    blocks = []
    for number, (group, mask) in enumerate(zip(groups, masks, strict=True)):
        pad, unpad = indices[2 * number : 2 * number + 2]
        blocks.append(
            AttentionBlock(
                group.rows,
                group.packed,
                group.width,
                group.slots,
                additive_mask(mask.view(group.visible.shape), dtype)[:, None],
                None if group.pad is None else pad,
                None if group.unpad is None else unpad,
            )
        )
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


def _repeated(
    mask: torch.Tensor, times: int, made: dict[int, torch.Tensor]
) -> torch.Tensor:
    """Get the mask of query heads that share keys; it is made once."""
    if times not in made:
        made[times] = aligned(mask.repeat(1, 1, times, 1))
    return made[times]


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
    faster_plain = few and new.device.type == "cpu" and new.dtype == torch.float32
    if softcap is None and not faster_plain:
        mask = block.repeated_mask(new.shape[1] // keys.shape[2])
        out = _attend_fused(new, keys[used], values[used], mask, scale)
    else:
        out = _attend_plainly(new, keys[used], values[used], block.mask, scale, softcap)
    return out if block.unpad is None else out[block.unpad]


def _attend_plainly(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
    softcap: float | None = None,
) -> torch.Tensor:
    """Compute the attention of padded rows by two products.

    query (torch.Tensor): (rows * width, heads, head size).
    keys, values (torch.Tensor): (rows, slots, shared heads, head size).
    mask (torch.Tensor): (rows, 1, width, slots).
    scale, softcap: Of the scores.
    RETURNS (torch.Tensor): (rows * width, heads, head size).
    """
    q, k, v = _fold(query, keys, values)
    rows, shared, folded, _ = q.shape
    width, slots = mask.shape[2:]
    scores = (q @ k.transpose(2, 3)).view(rows, shared, -1, width, slots)
    if softcap is not None:
        scores, scale = torch.tanh(scores * (scale / softcap)), softcap
    scores = torch.add(mask[:, :, None], scores, alpha=scale)
    # softmax computes in float32 in any case
    weights = scores.softmax(dim=-1).view(rows, shared, folded, slots)
    return _unfold(weights @ v, query.shape[1])


def _attend_fused(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Compute the same by torch's fused attention.

    mask (torch.Tensor): (rows, 1, times * width, slots), repeated for the query heads
        that share keys.
    """
    q, k, v = _fold(query, keys, values)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return _unfold(out, query.shape[1])


def _fold(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Treat query heads that share keys as further tokens.

    RETURNS (tuple[torch.Tensor, ...]): Queries (rows, shared, times * width, head
        size), keys and values (rows, shared, slots, head size).
    """
    rows, shared = keys.shape[0], keys.shape[2]
    heads, size = query.shape[1:]
    q = query.reshape(rows, -1, shared, heads // shared, size).permute(0, 2, 3, 1, 4)
    return q.flatten(2, 3), keys.transpose(1, 2), values.transpose(1, 2)


def _unfold(output: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo `_fold`: (rows * width, heads, head size)."""
    rows, shared, _, size = output.shape
    out = output.view(rows, shared, heads // shared, -1, size).permute(0, 3, 1, 2, 4)
    return out.reshape(-1, heads, size)
