r"""`AugmentedDecoder`: the answer repeats the text, with its mentions marked.

This is the paper's AutoReg-Aug: `[Japan LOC], co-hosts of ...`, with the labels' names
in the prompt. Brackets of the text and of names are written `\[` and `\]`. If one
label's name ends with another's, such as "geo location" and "location", a mention
"Baden geo" of the latter is read as "Baden" of the former.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.baselines.answer_format import (
    SLACK,
    AnswerFormat,
    Piece,
    answer_tokens,
    escape,
    read_item,
)
from spacy_padellm.decoding.baselines.decoder import AnswerDecoder
from spacy_padellm.decoding.baselines.gold_offsets import locate_gold, outermost
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens

_MARKS = "[]"
_BRACKET = re.compile(r"\\.|[\[\]]", re.DOTALL)


def write_answer(gold: GoldText, labels: Mapping[str, str]) -> list[str]:
    """Write a text with its mentions marked.

    gold (GoldText): The text with its mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (list[str]): The answer, split where mentions begin and end.
    """
    pieces = []
    reached = 0
    mentions = {label: gold.mentions.get(label, ()) for label in labels}
    for offsets in outermost(locate_gold(gold.text, mentions)):
        before = escape(gold.text[reached : offsets.start], _MARKS)
        mention = escape(gold.text[offsets.start : offsets.end], _MARKS)
        # tokenizers join a space with the word after it, here with the bracket
        space = " " if before.endswith(" ") else ""
        name = escape(labels[offsets.label], _MARKS)
        pieces += [before.removesuffix(" "), f"{space}[", mention, f" {name}]"]
        reached = offsets.end
    return [*pieces, escape(gold.text[reached:], _MARKS)]


def read_answer(answer: str, labels: Mapping[str, str]) -> dict[str, list[Piece]]:
    """Read the marked mentions.

    Only the contents of brackets are read; the rest may differ from the text. If a
    bracket is not closed, it is read up to the next one.

    answer (str): Any string.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (dict[str, list[Piece]]): Label -> its mentions in order.
    """
    # longer names first, because a name may end with another one
    names = sorted(
        ((escape(name, _MARKS).strip(), label) for label, name in labels.items()),
        key=lambda pair: -len(pair[0]),
    )
    found: dict[str, list[Piece]] = {}
    opened: int | None = None
    for mark in _BRACKET.finditer(answer):
        if mark.group() not in _MARKS:
            continue
        if opened is not None:
            _read_marked(answer, opened, mark.start(), names, found)
        opened = mark.end() if mark.group() == "[" else None
    if opened is not None:
        _read_marked(answer, opened, len(answer), names, found)
    return found


def _read_marked(
    answer: str,
    start: int,
    end: int,
    names: Sequence[tuple[str, str]],
    found: dict[str, list[Piece]],
) -> None:
    """Read `mention name` if it ends with the name of a label."""
    marked = answer[start:end].rstrip()
    for name, label in names:
        mention = marked.removesuffix(name)
        if len(mention) < len(marked) and mention[-1:].isspace():
            found.setdefault(label, []).extend(
                read_item(answer, start, start + len(mention))
            )
            return


def _room(prompt: PromptTokens, labels: Mapping[str, str]) -> Callable[[int], int]:
    marks = max(
        len(answer_tokens(prompt, prompt.prompt.text, ["[", f" {name}]"]))
        for name in labels.values()
    )
    # at most every second token of the text is a mention
    return lambda text_tokens: text_tokens + (text_tokens // 2 + 1) * marks + SLACK


AUGMENTED = AnswerFormat(
    name="the text with marks",
    by_label=False,
    write=write_answer,
    read=read_answer,
    room=_room,
)


@dataclass(frozen=True, slots=True)
class AugmentedDecoder(AnswerDecoder):
    """Decode a copy of each text with its mentions marked, several texts as one batch.

    The format has no nested mentions: of overlapping gold mentions, the model learns
    the outermost one.
    """

    form: ClassVar[AnswerFormat] = AUGMENTED
