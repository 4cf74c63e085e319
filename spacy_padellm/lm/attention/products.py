"""The products of attention over padded rows, under any mask."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from spacy_padellm.tree.masks import aligned


class QKV(NamedTuple):
    """The queries, keys and values of a layer.

    query (torch.Tensor): (tokens, heads, head size).
    key, value (torch.Tensor): (tokens, shared heads, head size); or, padded to rows,
        (rows, slots, shared heads, head size).
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


def repeated_mask(
    mask: torch.Tensor, times: int, masks: dict[int, torch.Tensor]
) -> torch.Tensor:
    """Get the mask of query heads that share keys; it is made once.

    mask (torch.Tensor): (rows, 1, width, slots).
    times (int): Query heads that share keys.
    masks (dict[int, torch.Tensor]): Those that were made, by `times`.
    RETURNS (torch.Tensor): (rows, 1, times * width, slots).
    """
    if times not in masks:
        repeated = mask if times == 1 else mask.repeat(1, 1, times, 1)
        masks[times] = aligned(repeated)
    return masks[times]


def attend_plainly(
    qkv: QKV, mask: torch.Tensor, scale: float, softcap: float | None = None
) -> torch.Tensor:
    """Compute the attention of padded rows by two products.

    qkv (QKV): Its keys and values are padded to rows, and its queries are those of
        rows * width tokens.
    mask (torch.Tensor): (rows, 1, width, slots), added to the scores.
    scale (float): Factor of the scores.
    softcap (float | None): Keeps the scores between -softcap and softcap.
    RETURNS (torch.Tensor): (rows * width, heads, head size).
    """
    q, k, v = _fold(qkv)
    rows, shared, folded, _ = q.shape
    width, slots = mask.shape[2:]
    scores = (q @ k.transpose(2, 3)).view(rows, shared, -1, width, slots)
    if softcap is not None:
        scores, scale = torch.tanh(scores * (scale / softcap)), softcap
    scores = torch.add(mask[:, :, None], scores, alpha=scale)
    # softmax computes in float32 in any case
    weights = scores.softmax(dim=-1).view(rows, shared, folded, slots)
    return _unfold(weights @ v, qkv.query.shape[1])


def attend_fused(qkv: QKV, mask: torch.Tensor, scale: float) -> torch.Tensor:
    """Compute the attention of padded rows by torch's fused attention.

    qkv, scale: See `attend_plainly`.
    mask (torch.Tensor): (rows, 1, times * width, slots), repeated for the query heads
        that share keys.
    RETURNS (torch.Tensor): (rows * width, heads, head size).
    """
    q, k, v = _fold(qkv)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return _unfold(out, qkv.query.shape[1])


def _fold(qkv: QKV) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Treat query heads that share keys as further tokens.

    RETURNS (tuple[torch.Tensor, ...]): Queries (rows, shared, times * width, head
        size), keys and values (rows, shared, slots, head size).
    """
    query, keys, values = qkv
    rows, shared = keys.shape[0], keys.shape[2]
    heads, size = query.shape[1:]
    if heads == shared:  # fewer operations
        q = query.reshape(rows, -1, heads, size).transpose(1, 2)
    else:
        q = query.reshape(rows, -1, shared, heads // shared, size)
        q = q.permute(0, 2, 3, 1, 4).flatten(2, 3)
    return q, keys.transpose(1, 2), values.transpose(1, 2)


def _unfold(output: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo `_fold`: (rows * width, heads, head size)."""
    rows, shared, _, size = output.shape
    if heads == shared:
        return output.transpose(1, 2).reshape(-1, heads, size)
    out = output.view(rows, shared, heads // shared, -1, size).permute(0, 3, 1, 2, 4)
    return out.reshape(-1, heads, size)
