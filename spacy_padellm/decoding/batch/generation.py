"""Greedy generation of separate sequences as one batch, by transformers' `generate`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from spacy_padellm.compat.peft import base_model
from spacy_padellm.decoding.replicas import Replica, map_on_replicas
from spacy_padellm.errors import Errors
from spacy_padellm.lm.attention.cache_argument import CACHE_ARGUMENT
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.masks import additive_mask


@dataclass(frozen=True, slots=True)
class Generated:
    """The continuation of a sequence.

    ids (list[int]): Tokens, without `<eos>`.
    log_probabilities (list[float]): Their log-probabilities.
    cut (bool): Whether it reached its limit before `<eos>`.
    full (bool): Whether the model's context is the limit.
    """

    ids: list[int]
    log_probabilities: list[float]
    cut: bool
    full: bool = False


def generate(
    replicas: Sequence[Replica],
    sequences: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    bidirectional_spans: Sequence[tuple[int, int]] | None = None,
    max_batch_tokens: int | None = None,
    forced: Sequence[Sequence[int]] | None = None,
    counts: bool = False,
) -> list[Generated]:
    """Continue sequences by greedy decoding.

    replicas (Sequence[Replica]): The replicas that share the batches.
    sequences (Sequence[Sequence[int]]): The prompts.
    limits (Sequence[int]): Tokens to generate at most for each sequence; fewer if the
        model's context ends before.
    bidirectional_spans (Sequence[tuple[int, int]] | None): For each prompt, the tokens
        with bidirectional attention, never the last one; None for causal attention.
    max_batch_tokens (int | None): Tokens of the prompts of one batch, padding included;
        None makes one batch for each replica.
    forced (Sequence[Sequence[int]] | None): Tokens to use instead of the most likely
        ones.
    counts (bool): Whether to stop as soon as a count is complete.
    RETURNS (list[Generated]): In the order of the sequences.
    RAISES (ValueError): If a sequence leaves no room in the context, or if logits are
        NaN or infinite.
    """
    context = replicas[0].lm.context
    longest = max(map(len, sequences), default=0)
    if longest >= context:
        raise ValueError(Errors.P121.format(tokens=longest, context=context))
    if max_batch_tokens is None:
        parts = min(len(replicas), len(sequences))
        batches = [list(range(i, len(sequences), parts)) for i in range(parts)]
    else:
        shapes = [(1, len(sequence)) for sequence in sequences]
        batches = list(cut_batches(shapes, max_batch_tokens))
    sizes = list(map(len, sequences))
    rooms = [context - size for size in sizes]
    full = [limit > room for limit, room in zip(limits, rooms, strict=True)]
    limits = list(map(min, limits, rooms))
    batches = [
        part for batch in batches for part in _split(batch, sizes, limits, context)
    ]

    def work(replica: Replica, batch: list[int]) -> list[Generated]:
        return _generate_batch(
            replica,
            [sequences[i] for i in batch],
            [limits[i] for i in batch],
            bidirectional_spans=[]
            if bidirectional_spans is None
            else [bidirectional_spans[i] for i in batch],
            forced=None if forced is None else [forced[i] for i in batch],
            counts=counts,
        )

    generated: dict[int, Generated] = {}
    answers = map_on_replicas(replicas, batches, work)
    for batch, rows in zip(batches, answers, strict=True):
        for i, row in zip(batch, rows, strict=True):
            generated[i] = replace(row, full=full[i])
    return [generated[i] for i in range(len(sequences))]


def cut_batches(
    shapes: Sequence[tuple[int, int]], max_tokens: int | None
) -> Iterator[list[int]]:
    """Cut items into batches of similar width.

    shapes (Sequence[tuple[int, int]]): Rows and width of each item.
    max_tokens (int | None): Tokens of a batch, padding included; a single item may
        exceed it. None makes one batch of all items.
    YIELDS (list[int]): The indexes of a batch's items, narrow ones first.
    """
    batch: list[int] = []
    rows = 0
    for item in sorted(range(len(shapes)), key=lambda i: shapes[i][1]):
        height, width = shapes[item]
        if batch and max_tokens is not None and (rows + height) * width > max_tokens:
            yield batch
            batch, rows = [], 0
        batch.append(item)
        rows += height
    if batch:
        yield batch


def _split(
    batch: list[int], sizes: Sequence[int], limits: Sequence[int], context: int
) -> Iterator[list[int]]:
    """Split a batch so that no row leaves the context, also not after its end.

    `generate` goes on with all rows until the last one ends. A model with learned
    positions has none after the context.

    batch (list[int]): The indexes of its sequences.
    sizes (Sequence[int]): Tokens of each sequence.
    limits (Sequence[int]): Tokens to generate at most for each; each fits alone.
    context (int): The longest sequence in tokens that the model takes.
    YIELDS (list[int]): The indexes of a part: all of them if they fit together.
    """
    if not batch or _longest(batch, sizes, limits) <= context:
        yield batch
        return
    part: list[int] = []
    for i in sorted(batch, key=lambda i: sizes[i]):
        if part and _longest([*part, i], sizes, limits) > context:
            yield part
            part = []
        part.append(i)
    yield part


def _longest(rows: Sequence[int], sizes: Sequence[int], limits: Sequence[int]) -> int:
    return max(sizes[i] for i in rows) + max(limits[i] for i in rows)


def _generate_batch(
    replica: Replica,
    sequences: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    bidirectional_spans: Sequence[tuple[int, int]],
    forced: Sequence[Sequence[int]] | None,
    counts: bool,
) -> list[Generated]:
    prompt, device = replica.prompt, replica.lm.device
    ids, mask = _pad_left(sequences, prompt.eos)
    width = ids.shape[1]
    chooser = _Chooser(forced, width)
    stops = StoppingCriteriaList([_RowLimits(limits, width, device)])
    if counts:
        stops.append(_CountsComplete(prompt, width))
    ids, mask = ids.to(device), mask.to(device)
    with replica.lm.lock, torch.inference_mode():
        replica.lm.set_training(False)
        # a checkpoint's generation config may sample or penalize repeats: leave it out
        model = copy.copy(base_model(replica.lm.model))
        model.generation_config = GenerationConfig()
        filled: dict[str, Any] = {}
        if any(start < end for start, end in bidirectional_spans):
            filled[CACHE_ARGUMENT] = _fill_cache(
                replica.lm, ids, mask, bidirectional_spans
            )
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            **filled,
            generation_config=GenerationConfig(
                max_new_tokens=max(limits),
                do_sample=False,
                eos_token_id=prompt.eos,
                pad_token_id=prompt.eos,
            ),
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=stops,
        )
        log_probabilities = torch.stack(chooser.log_probabilities, dim=1)
        if not torch.isfinite(log_probabilities).all():
            raise ValueError(Errors.P122)
    return [
        _cut_at_eos(row, row_log_probabilities, limit, prompt.eos)
        for row, row_log_probabilities, limit in zip(
            output[:, width:].tolist(), log_probabilities.tolist(), limits, strict=True
        )
    ]


def _pad_left(
    sequences: Sequence[Sequence[int]], padding: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sequences as one tensor, and its attention mask; both (rows, width)."""
    rows = [torch.tensor(sequence) for sequence in sequences]
    ids = pad_sequence(
        rows, batch_first=True, padding_value=padding, padding_side="left"
    )
    ones = [torch.ones_like(row) for row in rows]
    return ids, pad_sequence(ones, batch_first=True, padding_side="left")


def _cut_at_eos(
    row: list[int], log_probabilities: list[float], limit: int, eos: int
) -> Generated:
    end = row.index(eos) if eos in row else len(row)
    return Generated(row[:end], log_probabilities[:end], end == limit)


def _fill_cache(
    lm: LanguageModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    bidirectional_spans: Sequence[tuple[int, int]],
) -> DynamicCache:
    """The KV cache of a prefix LM's prompts, without their last tokens.

    ids, mask (torch.Tensor): (rows, width): tokens, and 0 for padding.
    bidirectional_spans (Sequence[tuple[int, int]]): See `generate`.
    RAISES (ValueError): If the model does not support such a mask.
    """
    if reason := why_no_tree(lm, ids.shape[1]):
        raise ValueError(Errors.P127.format(reason=reason))
    ids, mask = ids[:, :-1], mask[:, :-1]
    width = ids.shape[1]
    visible = torch.ones(width, width, dtype=torch.bool, device=ids.device).tril()
    visible = visible & mask[:, None].bool()
    padding = (width - mask.sum(dim=1)).tolist()
    for row, (start, end) in enumerate(bidirectional_spans):
        inside = slice(padding[row] + start, padding[row] + end)
        visible[row, inside, inside] = True
    # padding attends to itself, so that no softmax is empty
    visible |= torch.eye(width, dtype=torch.bool, device=ids.device)
    cache = DynamicCache()
    lm.fill(
        cache,
        input_ids=ids,
        attention_mask=additive_mask(visible, lm.dtype)[:, None],
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
    )
    return cache


class _Chooser(LogitsProcessor):
    """Records the log-probability of each token, and selects forced tokens."""

    def __init__(self, forced: Sequence[Sequence[int]] | None, width: int) -> None:
        self._forced = forced
        self._width = width
        self.log_probabilities: list[torch.Tensor] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self._forced is None:
            logits = scores.amax(dim=-1)
            self.log_probabilities.append(logits - scores.logsumexp(dim=-1))
            return scores
        step = input_ids.shape[1] - self._width
        forced_ids = [ids[min(step, len(ids) - 1)] for ids in self._forced]
        tokens = torch.tensor(forced_ids, device=scores.device)[:, None]
        logits = scores.gather(1, tokens)[:, 0]
        self.log_probabilities.append(logits - scores.logsumexp(dim=-1))
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)


class _RowLimits(StoppingCriteria):
    """Stops each sequence at its limit."""

    def __init__(self, limits: Sequence[int], width: int, device: torch.device) -> None:
        self._ends = torch.tensor(limits, device=device) + width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        done: torch.BoolTensor = input_ids.shape[1] >= self._ends
        return done


class _CountsComplete(StoppingCriteria):
    """Stops each sequence when its count is complete."""

    def __init__(self, prompt: PromptTokens, width: int) -> None:
        self._prompt = prompt
        self._width = width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        generated = input_ids[:, self._width :].tolist()
        complete = [self._prompt.read_count(tokens)[1] for tokens in generated]
        return torch.tensor(complete, device=input_ids.device)  # type: ignore[return-value]
