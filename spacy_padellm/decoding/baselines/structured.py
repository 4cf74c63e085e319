r"""`StructuredDecoder`: one answer with the mentions of all labels.

This is the paper's AutoReg-Struct:
`((PER): (Cuttitta), (LOC): (Italy, Rome), (ORG): (NULL))`, with the labels' names in
the prompt. Parentheses in a mention or name are written `\(` and `\)`, and a mention
NULL is written `\NULL`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from spacy_padellm.decoding.baselines.answer_format import (
    SLACK,
    AnswerFormat,
    Piece,
    answer_tokens,
    escape,
    read_list,
    unescape,
    write_list,
)
from spacy_padellm.decoding.baselines.decoder import AnswerDecoder
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens

_NULL = "NULL"
_MARKS = "()"
_HEADER = re.compile(r"\(((?:\\.|[^()\\])*)\)\s*:\s*\(", re.DOTALL)
_CLOSE = re.compile(r"\\.|\)", re.DOTALL)


def write_answer(gold: GoldText, labels: Mapping[str, str]) -> list[str]:
    """Write the mentions of all labels.

    gold (GoldText): The text with its mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (list[str]): The answer, split where mentions begin and end.
    """
    pieces = []
    before = "("
    for label, name in labels.items():
        mentions = gold.mentions.get(label, ())
        before += f"({escape(name, _MARKS)}): ("
        if mentions:
            written = write_list(mentions, marks=_MARKS)
            if written == [_NULL]:
                written = [rf"\{_NULL}"]
            pieces += [before, *written]
            before = "), "
        else:
            before += f"{_NULL}), "
    return [*pieces, before.removesuffix(", ") + ")"]


def read_answer(answer: str, labels: Mapping[str, str]) -> dict[str, list[Piece]]:
    """Read the mentions of all labels.

    Unknown labels and repeats of a label are left out. If a parenthesis is not closed,
    the list extends to the next label.

    answer (str): Any string.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (dict[str, list[Piece]]): Label -> its mentions in order.
    """
    known: dict[str, str] = {}
    for key, name in labels.items():
        known.setdefault(name.strip(), key)
    found: dict[str, list[Piece]] = {}
    headers = list(_HEADER.finditer(answer))
    limits = [*(header.start() for header in headers[1:]), len(answer)]
    for header, end in zip(headers, limits, strict=False):
        label = known.get(unescape(header.group(1)).strip())
        if label is None or label in found:
            continue
        start = header.end()
        closed = (
            m.start() for m in _CLOSE.finditer(answer, start, end) if m.group() == ")"
        )
        end = next(closed, end)
        null = answer[start:end].strip() == _NULL
        found[label] = [] if null else read_list(answer, start, end)
    return found


def _room(prompt: PromptTokens, labels: Mapping[str, str]) -> Callable[[int], int]:
    empty = write_answer(GoldText("", {}), labels)
    frame = len(answer_tokens(prompt, prompt.prompt.text, empty))
    # at most every token of the text is a mention, with a comma after it
    return lambda text_tokens: frame + 2 * text_tokens + SLACK


STRUCTURED = AnswerFormat(
    name="a list of all labels",
    by_label=False,
    write=write_answer,
    read=read_answer,
    room=_room,
)


@dataclass(frozen=True, slots=True)
class StructuredDecoder(AnswerDecoder):
    """Decode one structured answer for each text, several texts as one batch."""

    form: ClassVar[AnswerFormat] = STRUCTURED
