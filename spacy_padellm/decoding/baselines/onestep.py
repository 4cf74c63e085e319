"""`OneStepDecoder`: for each label, one answer that lists its mentions.

This is the paper's ablation of the two steps (OneStep): `Japan, Korea<eos>`, or only
`<eos>` if the text has no mention of the label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.baselines.answer_format import (
    SLACK,
    AnswerFormat,
    Piece,
    read_list,
    write_list,
)
from spacy_padellm.decoding.baselines.decoder import AnswerDecoder
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens


def write_answer(gold: GoldText, labels: Mapping[str, str]) -> list[str]:
    """Write the mentions of a label as a list.

    gold (GoldText): The text with its mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (list[str]): The answer, split where mentions begin and end.
    """
    (label,) = labels
    return write_list(gold.mentions.get(label, ()))


def read_answer(answer: str, labels: Mapping[str, str]) -> dict[str, list[Piece]]:
    """Read a list of mentions of a label.

    answer (str): Any string.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (dict[str, list[Piece]]): Label -> its mentions in order.
    """
    (label,) = labels
    return {label: read_list(answer, 0, len(answer))}


def _room(prompt: PromptTokens, labels: Mapping[str, str]) -> Callable[[int], int]:
    # at most every token of the text is a mention, with a comma after it
    return lambda text_tokens: 2 * text_tokens + SLACK


ONE_STEP = AnswerFormat(
    name="a list for each label",
    by_label=True,
    write=write_answer,
    read=read_answer,
    room=_room,
)


@dataclass(frozen=True, slots=True)
class OneStepDecoder(AnswerDecoder):
    """Decode a list of mentions for each label, several texts as one batch."""

    form: ClassVar[AnswerFormat] = ONE_STEP
