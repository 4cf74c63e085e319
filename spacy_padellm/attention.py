"""Attention over packed trees, for all models that use transformers' interface.

A model in a pass calls `attend` in each of its layers. It writes the new keys and
values to the rows' cache, and attends row by row under the tree's mask.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from spacy_padellm.masks import additive_mask
from spacy_padellm.packing import Group, Pass
from spacy_padellm.row_cache import RowCache

NAME = "padellm_tree"
# up to here plain products are faster on a CPU than the fused attention
_FEW_SCORES = 1 << 20
_running = threading.local()


@dataclass(frozen=True, slots=True)
class _Rows:
    """A group on the device, with its mask as numbers to add to the scores."""

    group: Group
    mask: torch.Tensor  # (rows, 1, width, slots)
    pad: torch.Tensor | None
    unpad: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class _State:
    cache: RowCache
    places: torch.Tensor
    rows: list[_Rows]
    softcaps: bool


@contextmanager
def packed_attention(
    config: Any, packed: Pass, cache: RowCache, *, device: Any, dtype: torch.dtype
) -> Iterator[None]:
    """Let the model of a config read a pass.

    config (transformers.PretrainedConfig): The model's.
    packed (Pass): The pass.
    cache (RowCache): Keys and values of the passes before; takes those of this one.
    """
    cache.reserve(*packed.used)
    places = cache.places(packed.rows, packed.slots).to(device)
    rows = []
    for group in packed.groups:
        visible = torch.from_numpy(group.visible).to(device)
        mask = additive_mask(visible, dtype)
        pad = None if group.pad is None else torch.from_numpy(group.pad).to(device)
        unpad = None
        if group.unpad is not None:
            unpad = torch.from_numpy(group.unpad).to(device)
        rows.append(_Rows(group, mask[:, None], pad, unpad))
    before = config._attn_implementation
    # transformers' own sdpa attention leaves out the capping of scores
    _running.state = _State(cache, places, rows, softcaps=before != "sdpa")
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
    keys, values = state.cache.write(module.layer_idx, key, value, state.places)
    query = query[0].transpose(0, 1)
    softcap = softcap if state.softcaps else None
    found = [_attend_rows(query, keys, values, r, scaling, softcap) for r in state.rows]
    output = found[0] if len(found) == 1 else torch.cat(found)
    return output[None], None


ALL_ATTENTION_FUNCTIONS[NAME] = attend


def _attend_rows(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    rows: _Rows,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of a group: (tokens, heads, head size)."""
    group = rows.group
    new = query[group.packed]
    if rows.pad is not None:
        new = new[rows.pad]
    count = group.rows.stop - group.rows.start
    heads, size = new.shape[1:]
    shared = keys.shape[2]
    k = keys[group.rows, : group.slots].transpose(1, 2)
    v = values[group.rows, : group.slots].transpose(1, 2)
    # query heads that share keys stand one after the other as further tokens
    times = heads // shared
    q = new.view(count, group.width, shared, times, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(count, shared, times * group.width, size)
    mask = rows.mask if times == 1 else rows.mask.repeat(1, 1, times, 1)
    scale = size**-0.5 if scaling is None else scaling
    scores = count * heads * group.width * group.slots
    if softcap is None and (q.device.type != "cpu" or scores > _FEW_SCORES):
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    else:
        weights = (q @ k.transpose(2, 3)).float() * scale
        if softcap is not None:
            weights = torch.tanh(weights / softcap) * softcap
        out = (weights + mask).softmax(dim=-1).to(q.dtype) @ v
    size = out.shape[-1]
    out = out.view(count, shared, times, group.width, size).permute(0, 3, 1, 2, 4)
    out = out.reshape(count * group.width, heads, size)
    return out if rows.unpad is None else out[rows.unpad]
