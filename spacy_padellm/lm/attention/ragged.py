"""Attention of sequences of different lengths, without masks and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from spacy_padellm.compat.torch import varlen_attention
from spacy_padellm.lm.attention.products import QKV


class Attended(NamedTuple):
    """The output of attention to some keys, which can be merged with that to others.

    output (torch.Tensor): (tokens, heads, head size).
    weight (torch.Tensor): float32, (tokens, heads): the logarithm of the sum of the
        exponentials of the scores.
    """

    output: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of sequences, here and on the device.

    queries, keys (list[int]): Queries and keys of each sequence.
    query_starts, key_starts (torch.Tensor): int32, (sequences + 1,): the index of each
        sequence's first query and first key, and then their numbers.
    """

    queries: list[int]
    keys: list[int]
    query_starts: torch.Tensor
    key_starts: torch.Tensor


def attend_ragged(
    qkv: QKV, lengths: Lengths, scale: float, *, causal: bool
) -> Attended:
    """Compute the attention of sequences that lie one after the other.

    On a GPU, all are computed by one kernel, in bfloat16 or float16.

    qkv (QKV): Queries (queries, heads, head size), and keys and values
        (keys, shared heads, head size).
    lengths (Lengths): The sequences.
    scale (float): Factor of the scores.
    causal (bool): Whether no query attends to a later key. Then a sequence has as many
        queries as keys.
    """
    if qkv.query.device.type == "cuda":
        starts = lengths.query_starts, lengths.key_starts
        longest = max(lengths.queries), max(lengths.keys)
        return Attended(
            *varlen_attention(*qkv, *starts, *longest, scale=scale, causal=causal)
        )
    parts = zip(
        qkv.query.split(lengths.queries),
        qkv.key.split(lengths.keys),
        qkv.value.split(lengths.keys),
        strict=True,
    )
    found = [_attend(QKV(*part), scale, causal=causal) for part in parts]
    return Attended(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))


def _attend(qkv: QKV, scale: float, *, causal: bool) -> Attended:
    """Compute the attention of one sequence."""
    query, keys, values = qkv
    shared, heads = keys.shape[1], query.shape[1]
    grouped = query.unflatten(1, (shared, heads // shared))
    scores = torch.einsum("qsgd,ksd->qsgk", grouped, keys).float() * scale
    if causal:
        later = torch.ones_like(scores[:, 0, 0], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later[:, None, None], -torch.inf)
    weights = scores.softmax(dim=-1).to(values.dtype)
    output = torch.einsum("qsgk,ksd->qsgd", weights, values).flatten(1, 2)
    return Attended(output, scores.logsumexp(dim=-1).flatten(1, 2))
