"""`OneStepDecoder`: for each label, one answer that lists its mentions.

The paper's ablation of its two steps (OneStep): `Japan, Korea<eos>`, or `<eos>` at once
where the text holds no mention of the label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.answers import (
    AnswerFormat,
    answer_trees,
    stream_answers,
)
from spacy_padellm.decoding.base import Forced, Found, check_settings
from spacy_padellm.decoding.writing import SLACK, Piece, read_list, write_list
from spacy_padellm.lm import LanguageModel
from spacy_padellm.prompt import PromptTokens
from spacy_padellm.targets import GoldText, TrainingTree


@dataclass(frozen=True, slots=True)
class OneStepDecoder:
    """Decode a list of mentions for each label, those of several texts as one batch.

    max_mentions (int): Mentions of one label in one text at the most.
    max_batch_tokens (int): Tokens of the prompts of a batch, padding included; one text
        may exceed it.
    """

    max_mentions: int = 32
    max_batch_tokens: int = 1024
    needs_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_settings(
            max_mentions=self.max_mentions, max_batch_tokens=self.max_batch_tokens
        )

    def stream(
        self,
        lm: LanguageModel | None,
        prompt: PromptTokens,
        texts: Iterable[str],
        labels: Mapping[str, str],
        *,
        forced: Forced | None = None,
    ) -> Iterator[Found]:
        """See `Decoder`."""
        assert lm is not None
        return stream_answers(
            ONE_STEP,
            lm,
            prompt,
            texts,
            labels,
            max_mentions=self.max_mentions,
            max_batch_tokens=self.max_batch_tokens,
            forced=forced,
        )

    def targets(
        self,
        prompt: PromptTokens,
        golds: Sequence[GoldText],
        labels: Mapping[str, str],
        *,
        mention_prefix_loss: bool,
    ) -> list[TrainingTree]:
        """See `Decoder`; there is no `<mention n>` here that could be learnt."""
        return answer_trees(ONE_STEP, prompt, golds, labels)


def write_answer(gold: GoldText, labels: Mapping[str, str]) -> list[str]:
    """Write the mentions of a label as a list."""
    (label,) = labels
    return write_list(gold.mentions.get(label, ()))


def read_answer(answer: str, labels: Mapping[str, str]) -> dict[str, list[Piece]]:
    """Read a list of mentions of a label."""
    (label,) = labels
    return {label: read_list(answer, 0, len(answer))}


def _room(prompt: PromptTokens, labels: Mapping[str, str]) -> Callable[[int], int]:
    # at the most each token of the text is a mention, with a comma after it
    return lambda text_tokens: 2 * text_tokens + SLACK


ONE_STEP = AnswerFormat(by_label=True, write=write_answer, read=read_answer, room=_room)
