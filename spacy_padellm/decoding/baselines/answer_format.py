r"""How the baselines' answers are written: their tokens, and lists of mentions.

What a mention shares with the marks of a format is written with a backslash before it,
as is the backslash itself, so that an answer can be read back: `Paris\, Texas`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.branches import CountBranches
from spacy_padellm.prompt.template import split_template
from spacy_padellm.prompt.tokens import PromptTokens

# tokens that an answer may take over its estimate: a word without the blank before it
# is often more tokens than in the text
SLACK = 8
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r",(?=\s|$)")
_ITEM_END = re.compile(r"\\.|,(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """A mention as it stands in an answer.

    text (str): The mention.
    start, end (int): Its characters in the answer, which may hold backslashes more.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How a baseline asks, and how its answers are written.

    name (str): What a model was trained to answer, in words.
    by_label (bool): Whether each label is asked for apart, by the text's and the
        label's template; if not, one answer to the text's template holds all labels.
    write (Callable): (text with its gold mentions, label -> name) -> the answer.
    read (Callable): (answer, label -> name) -> label -> its mentions in order; never
        raises, whatever the answer is.
    room (Callable): (prompt, label -> name) -> a function from the tokens of a text to
        the tokens that its answer may take.
    """

    name: str
    by_label: bool
    write: Callable[[GoldText, Mapping[str, str]], list[str]]
    read: Callable[[str, Mapping[str, str]], dict[str, list[Piece]]]
    room: Callable[[PromptTokens, Mapping[str, str]], Callable[[int], int]]

    def groups(self, labels: Mapping[str, str]) -> list[dict[str, str]]:
        """The labels of each prompt of a text."""
        if self.by_label:
            return [{label: name} for label, name in labels.items()]
        return [dict(labels)]

    def ask(
        self, prompt: PromptTokens, texts: Sequence[str], labels: Mapping[str, str]
    ) -> list[CountBranches]:
        """The prompts of texts."""
        if self.by_label:
            return prompt.count_branches(texts, list(labels.values()))
        return prompt.text_branches(texts)

    def tokens(
        self, prompt: PromptTokens, gold: GoldText, labels: Mapping[str, str]
    ) -> list[list[int]]:
        """The answers to a text's prompts, each with `<eos>`."""
        template = prompt.prompt.label if self.by_label else prompt.prompt.text
        return [
            answer_tokens(prompt, template, self.write(gold, group))
            for group in self.groups(labels)
        ]


def answer_tokens(
    prompt: PromptTokens, template: str, pieces: Sequence[str]
) -> list[int]:
    """Tokens of an answer, with `<eos>`.

    prompt (PromptTokens): The prompt.
    template (str): The template that the answer follows.
    pieces (Sequence[str]): The answer, cut where a mention begins and ends.
    """
    before = prompt.end_of_text
    if template == prompt.prompt.label:
        before = split_template(template)[1]
    return prompt.split_answer(before, pieces)


# Lists of mentions


def escape(string: str, marks: str) -> str:
    """Write a backslash before each of some marks, and before backslashes."""
    return re.sub(f"[{re.escape(marks)}\\\\]", r"\\\g<0>", string)


def unescape(string: str) -> str:
    """The reverse of `escape`."""
    return _ESCAPED.sub(r"\1", string)


def write_list(mentions: Sequence[str], *, marks: str = "") -> list[str]:
    """Write mentions, separated by ", ".

    mentions (Sequence[str]): The mentions.
    marks (str): Marks of the format around the list.
    RETURNS (list[str]): The list, cut where a mention begins and ends.
    """
    pieces: list[str] = []
    for mention in mentions:
        # a comma inside a number or word separates nothing
        item = _COMMA.sub(r"\\,", escape(mention, marks))
        pieces += [",", f" {item}"] if pieces else [item]
    return pieces


def read_list(answer: str, start: int, end: int) -> list[Piece]:
    """Read the mentions of a list; blanks around them and empty items are left out.

    answer (str): The answer.
    start, end (int): The list's characters in it.
    """
    found = []
    begun = start
    ends = [
        m.start() for m in _ITEM_END.finditer(answer, start, end) if m.group() == ","
    ]
    for stop in (*ends, end):
        found += read_item(answer, begun, stop)
        begun = stop + 1
    return found


def read_item(answer: str, start: int, end: int) -> list[Piece]:
    """Read the mention between two characters, if it is not blank."""
    raw = answer[start:end]
    start += len(raw) - len(raw.lstrip())
    raw = raw.strip()
    return [Piece(unescape(raw), start, start + len(raw))] if raw else []
