"""Attention to the shared prefix of a tree and to the own branch, merged.

See `spacy_padellm.tree.cascade_parts` for what is attended to. The outputs are those of
`PackedAttention` up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.attention.ragged import Attended, Lengths, attend_ragged
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.tree.cascade_parts import Branches, Ragged, cascade
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.masks import additive_mask
from spacy_padellm.tree.packing import PackedBatch


class _Sequences(NamedTuple):
    """A `Ragged`, on the device.

    tokens, keys (int64): Packed tokens, and indices in the flattened cache.
    """

    tokens: torch.Tensor
    keys: torch.Tensor
    lengths: Lengths


class _Padded(NamedTuple):
    """`Branches`, on the device.

    tokens, pad, unpad, keys (int64): See `Branches`; keys are indices in the flattened
        cache.
    mask (torch.Tensor): float32, (rows, 1, 1, width, slots), added to the scores.
    """

    tokens: torch.Tensor
    pad: torch.Tensor
    unpad: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class CascadeAttention:
    """The attention of a pass over packed trees, in parts.

    cache (TreeKVCache): The KV cache, with room for the tokens of the pass.
    slot_mapping (torch.Tensor): The index in the cache of each token of the pass.
    causal, bidirectional, to_prefix, branches: The parts of a `Cascade`, on the device;
        None if a part is empty.
    """

    cache: TreeKVCache
    slot_mapping: torch.Tensor
    causal: _Sequences | None
    bidirectional: _Sequences | None
    to_prefix: _Sequences | None
    branches: _Padded | None

    def __call__(
        self, layer: int, qkv: QKV, scale: float, softcap: None = None
    ) -> torch.Tensor:
        """Write keys and values to the cache, and compute the attention of a layer.

        layer, qkv, scale: See `PackedAttention`.
        softcap (None): Scores cannot be capped.
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        query, new_keys, new_values = qkv
        count = len(self.slot_mapping)
        cached = self.cache.write(
            layer, new_keys[:count], new_values[:count], self.slot_mapping
        )
        keys, values = (part.flatten(0, 1) for part in cached)
        held = QKV(query, keys, values)
        output = torch.zeros_like(query)
        for part, causal in ((self.causal, True), (self.bidirectional, False)):
            if part is not None:
                found = _attend_sequences(held, part, scale, causal=causal)
                output.index_copy_(0, part.tokens, found.output)
        if self.branches is not None:
            own = _attend_branches(held, self.branches, scale)
            output.index_copy_(0, self.branches.tokens, own.output)
            if self.to_prefix is not None:
                shared = _attend_sequences(held, self.to_prefix, scale, causal=False)
                weights = query.new_empty(query.shape[:2], dtype=torch.float32)
                weights.index_copy_(0, self.branches.tokens, own.weight)
                tokens = self.to_prefix.tokens
                both = merged(Attended(output[tokens], weights[tokens]), shared)
                output.index_copy_(0, tokens, both)
        return output


def cascade_attention(
    packed: PackedBatch, cache: TreeKVCache, slot_mapping: torch.Tensor
) -> CascadeAttention:
    """Prepare the attention of a pass over a packed batch, in parts.

    packed, cache, slot_mapping: See `packed_attention`.
    """
    parts = cascade(packed)
    device = slot_mapping.device
    branches = parts.branches
    return CascadeAttention(
        cache,
        slot_mapping,
        causal=_send_ragged(parts.causal, cache, device),
        bidirectional=_send_ragged(parts.bidirectional, cache, device),
        to_prefix=_send_ragged(parts.to_prefix, cache, device),
        branches=None if branches is None else _send_branches(branches, cache, device),
    )


def can_cascade(model: Any) -> bool:
    """Whether the attention of a model can be computed in parts and merged.

    model (transformers.PreTrainedModel): The model. Those that cap their scores cannot,
        nor those in float32 on a GPU, where kernels take half precision only.
    """
    half = stored_weight(model.get_input_embeddings()).dtype != torch.float32
    text = model.config.get_text_config()
    caps = getattr(text, "attn_logit_softcapping", None) is not None
    return (half or model.device.type == "cpu") and not caps


def merged(first: Attended, second: Attended) -> torch.Tensor:
    """Merge the attention of the same tokens to different keys.

    first, second (Attended): The attention to some keys, and to the others.
    RETURNS (torch.Tensor): The attention to all keys, (tokens, heads, head size).
    """
    share = torch.sigmoid(second.weight - first.weight)[..., None]
    both = torch.lerp(first.output.float(), second.output.float(), share)
    return both.to(first.output.dtype)


def _send_ragged(
    part: Ragged, cache: TreeKVCache, device: torch.device
) -> _Sequences | None:
    if not part.token_counts:
        return None
    starts = [
        np.concatenate(([0], np.cumsum(counts)))
        for counts in (part.token_counts, part.key_counts)
    ]
    keys = cache.slot_mapping(part.rows, part.slots)
    sent_tokens, sent_keys, *sent = upload([part.tokens, keys, *starts], device)
    query_starts, key_starts = (each.int() for each in sent)
    lengths = Lengths(part.token_counts, part.key_counts, query_starts, key_starts)
    return _Sequences(sent_tokens, sent_keys, lengths)


def _send_branches(part: Branches, cache: TreeKVCache, device: torch.device) -> _Padded:
    slots = cache.slot_mapping(part.rows, part.slots)
    indices = [part.tokens, part.pad, part.unpad, slots]
    tokens, pad, unpad, keys = upload(indices, device)
    visible = send(torch.from_numpy(part.visible), device)
    mask = additive_mask(visible, torch.float32)[:, None, None]
    return _Padded(tokens, pad, unpad, keys, mask)


def _attend_sequences(
    held: QKV, part: _Sequences, scale: float, *, causal: bool
) -> Attended:
    qkv = QKV(held.query[part.tokens], held.key[part.keys], held.value[part.keys])
    return attend_ragged(qkv, part.lengths, scale, causal=causal)


def _attend_branches(held: QKV, part: _Padded, scale: float) -> Attended:
    """Compute the attention of tokens to their own branches, by plain products."""
    rows, _, _, width, slots = part.mask.shape
    heads, (shared, size) = held.query.shape[1], held.key.shape[1:]
    query = held.query[part.pad].view(rows, width, shared, heads // shared, size)
    keys, values = (
        each[part.keys].view(rows, slots, shared, size).transpose(1, 2)[:, :, None]
        for each in (held.key, held.value)
    )
    # (rows, shared heads, heads of each, width, ...)
    query = query.permute(0, 2, 3, 1, 4)
    scores = (query @ keys.transpose(-1, -2)).float() * scale + part.mask
    weights = scores.softmax(dim=-1).to(values.dtype)
    tokens = (
        each.permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(1, 2)[part.unpad]
        for each in (weights @ values, scores.logsumexp(dim=-1)[..., None])
    )
    output, weight = tokens
    return Attended(output, weight[..., 0])
