"""Attention over packed trees, with their KV cache, as decoding needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from spacy_padellm.lm.attention.products import (
    QKV,
    attend_fused,
    attend_plainly,
    repeated_mask,
)
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch

# on a CPU, plain products are faster than fused attention: those of float32 up to this
# many scores, and those of bfloat16 up to this width, in tokens, which are compiled for
# each size, and round the scores
_FEW_SCORES = 1 << 20
_NARROW = 128


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Adjacent rows of a batch, padded to one width, on the device; see `RowGroup`.

    rows, packed (slice): Rows of the cache, and tokens of the packed batch.
    width, slots (int): New tokens per row, and slots that they may attend to.
    mask (torch.Tensor): (rows, 1, width, slots), added to the attention scores.
    pad, unpad (torch.Tensor | None): Indices that turn packed tokens into padded rows,
        and back.
    may_round (bool): Whether scores may be rounded to the model's dtype.
    """

    rows: slice
    packed: slice
    width: int
    slots: int
    mask: torch.Tensor
    pad: torch.Tensor | None = None
    unpad: torch.Tensor | None = None
    may_round: bool = False
    repeated: dict[int, torch.Tensor] = field(default_factory=dict)

    def repeated_mask(self, times: int) -> torch.Tensor:
        """The mask of query heads that share keys; made once for all layers.

        times (int): Query heads that share keys.
        """
        return repeated_mask(self.mask, times, self.repeated)


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
        self, layer: int, qkv: QKV, scale: float, softcap: float | None = None
    ) -> torch.Tensor:
        """Write keys and values to the cache, and compute the attention of a layer.

        layer (int): The layer's index.
        qkv (QKV): Those of the tokens. Tokens beyond those of the pass are padding.
        scale, softcap: See `attend_plainly`.
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        query, new_keys, new_values = qkv
        count = self.slot_mapping.shape[0]
        keys, values = self.cache.write(
            layer, new_keys[:count], new_values[:count], self.slot_mapping
        )
        cached = QKV(query, keys, values)
        outputs = [
            _attend_block(cached, block, scale, softcap) for block in self.blocks
        ]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        extra = query.shape[0] - output.shape[0]
        return F.pad(output, (0, 0, 0, 0, 0, extra)) if extra else output


def packed_attention(
    packed: PackedBatch,
    cache: TreeKVCache,
    slot_mapping: torch.Tensor,
    *,
    dtype: torch.dtype,
    tokens: int,
    may_round: bool = False,
) -> PackedAttention:
    """Prepare the attention of a pass over a packed batch.

    packed (PackedBatch): The batch.
    cache (TreeKVCache): Keys and values of earlier passes, with room for this one's.
    slot_mapping (torch.Tensor): The index in the cache of each token of the pass, on
        the model's device.
    dtype (torch.dtype): The dtype of the attention mask.
    tokens (int): The tokens of the pass, with its padding.
    may_round (bool): Whether the scores of several trees may be rounded to the model's
        dtype, where that is faster.
    """
    device, groups = slot_mapping.device, packed.groups
    if len(packed.starts) == 1:
        visible = _with_padding(groups[0].visible, tokens)
        mask = additive_mask(send(torch.from_numpy(visible), device), dtype)[:, None]
        all_tokens = slice(tokens)
        block = AttentionBlock(slice(1), all_tokens, tokens, groups[0].slots, mask)
        return PackedAttention(cache, slot_mapping, [block])
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
                may_round=may_round,
            )
        )
    return PackedAttention(cache, slot_mapping, blocks)


def _with_padding(visible: npt.NDArray[np.bool_], tokens: int) -> npt.NDArray[np.bool_]:
    """Let the padding of a single tree attend to all slots.

    So each layer computes it, and need not append it to the output.

    visible (bool, (1, width, slots)): Which slots each token attends to.
    tokens (int): Tokens with padding, at least `width`.
    RETURNS (bool, (1, tokens, slots)): The same with the padding.
    """
    padded = np.ones((1, tokens, visible.shape[2]), dtype=np.bool_)
    padded[:, : visible.shape[1]] = visible
    return padded


def _attend_block(
    cached: QKV, block: AttentionBlock, scale: float, softcap: float | None
) -> torch.Tensor:
    """Compute the attention of one block: (tokens, heads, head size)."""
    query, keys, values = cached
    new = query[block.packed]
    if block.pad is not None:
        new = new[block.pad]
    used = (block.rows, slice(block.slots))
    qkv = QKV(new, keys[used], values[used])
    if softcap is None and not _is_faster_plain(block, new):
        mask = block.repeated_mask(new.shape[1] // keys.shape[2])
        out = attend_fused(qkv, mask, scale)
    else:
        out = attend_plainly(qkv, block.mask, scale, softcap)
    return out if block.unpad is None else out[block.unpad]


def _is_faster_plain(block: AttentionBlock, query: torch.Tensor) -> bool:
    """Whether plain products are faster than fused attention, and may be used."""
    if query.device.type != "cpu":
        return False
    if query.dtype == torch.float32:
        return block.mask.numel() * query.shape[1] <= _FEW_SCORES
    return block.may_round and block.width <= _NARROW
