"""`BatchDecoder`: the paper's decoding, separate sequences as one batch.

The reference for `TreeDecoder`, and the way for models that cannot read token trees
(PaDeLLM-Batch: paper, section 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from spacy_padellm.decoding.base import (
    Forced,
    Limits,
    check_context,
    check_limits,
    greedy,
)
from spacy_padellm.lm import LanguageModel
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import MAX_COUNT_TOKENS, CountBranches, PromptTokens


@dataclass(frozen=True, slots=True)
class BatchDecoder:
    """Decode the sequences of each text as one batch, first counts, then mentions.

    max_mentions (int): Mentions of one label in one text at the most.
    max_mention_tokens (int): Tokens of a mention at the most.
    """

    max_mentions: int = 32
    max_mention_tokens: int = 64

    def __post_init__(self) -> None:
        check_limits(self.max_mentions, self.max_mention_tokens)

    def __call__(
        self,
        lm: LanguageModel,
        prompt: PromptTokens,
        texts: Sequence[str],
        labels: Mapping[str, str],
        *,
        forced: Forced | None = None,
    ) -> list[list[Mention]]:
        """See `Decoder`."""
        limits = Limits(self.max_mentions, self.max_mention_tokens)
        found = []
        branches = prompt.count_branches(texts, list(labels.values()))
        for text, branch in zip(texts, branches, strict=True):
            check_context(branch, lm)
            found.append(_decode(lm, prompt, text, branch, labels, limits, forced))
        limits.report()
        return found


def _decode(
    lm: LanguageModel,
    prompt: PromptTokens,
    text: str,
    branches: CountBranches,
    labels: Mapping[str, str],
    limits: Limits,
    forced: Forced | None,
) -> list[Mention]:
    sequences = [branches.root + ids for ids in branches.labels]
    answers = None
    if forced is not None:
        answers = [forced.count(text, label) for label in labels]
    counted, _ = _generate(
        lm, prompt, sequences, MAX_COUNT_TOKENS, forced=answers, counts=True
    )
    asked: list[tuple[str, int]] = []
    prompts: list[list[int]] = []
    for (label, name), sequence, tokens in zip(
        labels.items(), sequences, counted, strict=True
    ):
        count, _ = prompt.read_count(tokens)
        if count:
            capped = limits.capped(count)
            branch = prompt.mention_branches(text, name, capped, count)
            path = sequence[: branch.keep] + branch.stem
            asked += [(label, n) for n in range(1, capped + 1)]
            prompts += [path + ids for ids in branch.mentions]
    if not prompts:
        return []
    if forced is not None:
        answers = [forced.mention(text, label, n) for label, n in asked]
    room = min(limits.max_mention_tokens, lm.context - max(map(len, prompts)))
    generated, scores = _generate(lm, prompt, prompts, room, forced=answers)
    strings = prompt.decode_mentions(generated)
    limits.mentions += sum(len(tokens) == room for tokens in generated)
    return [
        Mention(label, n, string, math.exp(sum(token_scores)))
        for (label, n), string, token_scores in zip(asked, strings, scores, strict=True)
    ]


def _generate(
    lm: LanguageModel,
    prompt: PromptTokens,
    sequences: Sequence[Sequence[int]],
    max_tokens: int,
    *,
    forced: Sequence[Sequence[int]] | None,
    counts: bool = False,
) -> tuple[list[list[int]], list[list[float]]]:
    """Continue all sequences as one batch by greedy decoding.

    max_tokens (int): Tokens to generate at most.
    forced (Sequence[Sequence[int]] | None): Tokens to give instead.
    counts (bool): Stop where a count is complete.
    RETURNS (tuple[list[list[int]], list[list[float]]]): Tokens before `<eos>`, and
        their log-probabilities.
    """
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), prompt.eos, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence)
        mask[row, width - len(sequence) :] = 1
    options: dict[str, Any] = {}
    if forced is not None:
        options["logits_processor"] = LogitsProcessorList([_Force(forced, width)])
    if counts:
        stop = _CountsComplete(prompt, width)
        options["stopping_criteria"] = StoppingCriteriaList([stop])
    with torch.inference_mode():
        output = lm.model.generate(
            input_ids=ids.to(lm.device),
            attention_mask=mask.to(lm.device),
            generation_config=GenerationConfig(
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=prompt.eos,
                pad_token_id=prompt.eos,
                output_logits=True,
                return_dict_in_generate=True,
            ),
            **options,
        )
        scores = [greedy(logits)[1].tolist() for logits in output.logits]
    tokens = output.sequences[:, width:].tolist()
    kept = []
    for row in tokens:
        end = row.index(prompt.eos) if prompt.eos in row else len(row)
        kept.append(row[:end])
    log_probabilities = [
        [scores[place][row] for place in range(len(kept_row))]
        for row, kept_row in enumerate(kept)
    ]
    return kept, log_probabilities


class _CountsComplete(StoppingCriteria):
    """Stops each sequence once its count is complete."""

    def __init__(self, prompt: PromptTokens, width: int) -> None:
        self._prompt = prompt
        self._width = width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        generated = input_ids[:, self._width :].tolist()
        complete = [self._prompt.read_count(tokens)[1] for tokens in generated]
        return torch.tensor(complete, device=input_ids.device)  # type: ignore[return-value]


class _Force(LogitsProcessor):
    """Makes each sequence give the tokens it is told to."""

    def __init__(self, forced: Sequence[Sequence[int]], width: int) -> None:
        self._forced = forced
        self._width = width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        place = input_ids.shape[1] - self._width
        told = [ids[min(place, len(ids) - 1)] for ids in self._forced]
        rows = torch.arange(len(told), device=scores.device)
        scores = torch.full_like(scores, -torch.inf)
        scores[rows, torch.tensor(told, device=scores.device)] = 0.0
        return scores
