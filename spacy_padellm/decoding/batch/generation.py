"""Greedy generation of separate sequences as one batch, by transformers' `generate`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from spacy_padellm.decoding.replicas import Replica, spread
from spacy_padellm.errors import Errors
from spacy_padellm.lm.cache_argument import CACHE_ARGUMENT
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.masks import additive_mask


@dataclass(frozen=True, slots=True)
class Generated:
    """What followed a sequence.

    ids (list[int]): Tokens, without `<eos>`.
    scores (list[float]): Their log-probabilities.
    cut (bool): Whether it reached its limit before `<eos>`.
    """

    ids: list[int]
    scores: list[float]
    cut: bool


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

    replicas (Sequence[Replica]): Where; the batches are spread over them.
    sequences (Sequence[Sequence[int]]): The prompts.
    limits (Sequence[int]): Tokens to generate at most for each; fewer if the model's
        context ends before.
    bidirectional_spans (Sequence[tuple[int, int]] | None): The tokens of each prompt
        that see each other in both directions, not its last one; None are none.
    max_batch_tokens (int | None): Tokens of the prompts of one batch, padding included;
        None makes one batch for each replica.
    forced (Sequence[Sequence[int]] | None): Tokens to give instead of the likeliest.
    counts (bool): Stop where a count is complete.
    RETURNS (list[Generated]): In the order of the sequences.
    RAISES (ValueError): If a sequence leaves no room in the context, or there are
        logits that are no numbers.
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

    def work(replica: Replica, batch: list[int]) -> list[Generated]:
        return _generate_batch(
            replica,
            [sequences[i] for i in batch],
            [min(limits[i], context - len(sequences[i])) for i in batch],
            bidirectional_spans=[]
            if bidirectional_spans is None
            else [bidirectional_spans[i] for i in batch],
            forced=None if forced is None else [forced[i] for i in batch],
            counts=counts,
        )

    generated: dict[int, Generated] = {}
    for batch, rows in zip(batches, spread(replicas, batches, work), strict=True):
        generated.update(zip(batch, rows, strict=True))
    return [generated[i] for i in range(len(sequences))]


def cut_batches(
    shapes: Sequence[tuple[int, int]], max_tokens: int | None
) -> Iterator[list[int]]:
    """Cut items into batches of like width.

    shapes (Sequence[tuple[int, int]]): Rows and width of each item.
    max_tokens (int | None): Tokens of a batch, padding included, which one item may
        exceed; None makes one batch of all.
    YIELDS (list[int]): The items of a batch, narrow ones first.
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
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), prompt.eos, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence)
        mask[row, width - len(sequence) :] = 1
    chooser = _Chooser(forced, width)
    stops = StoppingCriteriaList([_RowLimits(limits, width, device)])
    if counts:
        stops.append(_CountsComplete(prompt, width))
    # a checkpoint's own generation config may sample or punish repeats: leave it out
    model = copy.copy(replica.lm.model)
    model.generation_config = GenerationConfig()
    ids, mask = ids.to(device), mask.to(device)
    with replica.lm.lock, replica.lm.autocast(), torch.inference_mode():
        read: dict[str, Any] = {}
        if any(start < end for start, end in bidirectional_spans):
            read[CACHE_ARGUMENT] = _read_prompts(
                replica.lm, ids, mask, bidirectional_spans
            )
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            **read,
            generation_config=GenerationConfig(
                max_new_tokens=max(limits),
                do_sample=False,
                eos_token_id=prompt.eos,
                pad_token_id=prompt.eos,
            ),
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=stops,
        )
        scores = torch.stack(chooser.scores, dim=1)
        if not torch.isfinite(scores).all():
            raise ValueError(Errors.P122)
    rows = []
    for row, log_probabilities, limit in zip(
        output[:, width:].tolist(), scores.tolist(), limits, strict=True
    ):
        end = row.index(prompt.eos) if prompt.eos in row else len(row)
        rows.append(Generated(row[:end], log_probabilities[:end], end == limit))
    return rows


def _read_prompts(
    lm: LanguageModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    bidirectional_spans: Sequence[tuple[int, int]],
) -> DynamicCache:
    """The keys and values of a prefix LM's prompts, all tokens but the last.

    ids, mask (torch.Tensor): (rows, width): tokens, and 0 where padding stands.
    bidirectional_spans (Sequence[tuple[int, int]]): See `generate`.
    RAISES (ValueError): If the model does not take such a mask.
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
    # padding sees itself alone: no softmax is empty
    visible |= torch.eye(width, dtype=torch.bool, device=ids.device)
    cache = DynamicCache()
    lm.fill(
        cache,
        input_ids=ids,
        attention_mask=additive_mask(visible, lm.autocast_dtype or lm.dtype)[:, None],
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
    )
    return cache


class _Chooser(LogitsProcessor):
    """Notes the log-probability of each token, and chooses it where it is forced."""

    def __init__(self, forced: Sequence[Sequence[int]] | None, width: int) -> None:
        self._forced = forced
        self._width = width
        self.scores: list[torch.Tensor] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self._forced is None:
            chosen = scores.amax(dim=-1)
            self.scores.append(chosen - scores.logsumexp(dim=-1))
            return scores
        place = input_ids.shape[1] - self._width
        forced_ids = [ids[min(place, len(ids) - 1)] for ids in self._forced]
        tokens = torch.tensor(forced_ids, device=scores.device)[:, None]
        chosen = scores.gather(1, tokens)[:, 0]
        self.scores.append(chosen - scores.logsumexp(dim=-1))
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)


class _RowLimits(StoppingCriteria):
    """Stops each sequence at its own limit."""

    def __init__(self, limits: Sequence[int], width: int, device: torch.device) -> None:
        self._ends = torch.tensor(limits, device=device) + width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        done: torch.BoolTensor = input_ids.shape[1] >= self._ends
        return done


class _CountsComplete(StoppingCriteria):
    """Stops each sequence once its count is complete."""

    def __init__(self, prompt: PromptTokens, width: int) -> None:
        self._prompt = prompt
        self._width = width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        generated = input_ids[:, self._width :].tolist()
        complete = [self._prompt.read_count(tokens)[1] for tokens in generated]
        return torch.tensor(complete, device=input_ids.device)  # type: ignore[return-value]
