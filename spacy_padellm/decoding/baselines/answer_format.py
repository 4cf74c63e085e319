r"""The formats of the baselines' answers: their tokens, and lists of mentions.

If a mention contains marks of the format or backslashes, each is written with a
backslash before it, so that the answer can be parsed: `Paris\, Texas`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.branches import CountPrompts
from spacy_padellm.prompt.template import end_of_template
from spacy_padellm.prompt.tokens import PromptTokens

# tokens that an answer may exceed its estimate by: without the space before it, a word
# often has more tokens than in the text
SLACK = 8
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r",(?=\s|$)")
_ITEM_END = re.compile(r"\\.|,(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """A mention in an answer.

    text (str): The mention.
    start, end (int): Its character offsets in the answer, backslashes included.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The prompts and answers of a baseline.

    name (str): The answers that a model must have been trained to give, in words.
    by_label (bool): Whether each label has a prompt, made of the text's and the label's
        template. If not, one answer to the text's template contains all labels.
    write (Callable): (text with its gold mentions, label -> name) -> the answer.
    read (Callable): (answer, label -> name) -> label -> its mentions in order. Never
        raises, whatever the answer is.
    room (Callable): (prompt, label -> name) -> a function from the number of tokens of
        a text to the number of tokens that its answer may have.
    """

    name: str
    by_label: bool
    write: Callable[[GoldText, Mapping[str, str]], list[str]]
    read: Callable[[str, Mapping[str, str]], dict[str, list[Piece]]]
    room: Callable[[PromptTokens, Mapping[str, str]], Callable[[int], int]]

    def groups(self, labels: Mapping[str, str]) -> list[dict[str, str]]:
        """Divide labels between the prompts of a text.

        labels (Mapping[str, str]): Label -> its name in the prompt.
        RETURNS (list[dict[str, str]]): For each prompt of a text, its labels with their
            names.
        """
        if self.by_label:
            return [{label: name} for label, name in labels.items()]
        return [dict(labels)]

    def ask(
        self, prompt: PromptTokens, texts: Sequence[str], labels: Mapping[str, str]
    ) -> list[CountPrompts]:
        """The prompts of texts.

        prompt (PromptTokens): The prompt.
        texts (Sequence[str]): The texts.
        labels (Mapping[str, str]): Label -> its name in the prompt.
        RETURNS (list[CountPrompts]): One for each text.
        """
        if self.by_label:
            return prompt.count_prompts(texts, list(labels.values()))
        return prompt.text_prompts(texts)

    def tokens(
        self, prompt: PromptTokens, gold: GoldText, labels: Mapping[str, str]
    ) -> list[list[int]]:
        """The gold answers to a text's prompts, each with `<eos>`.

        prompt (PromptTokens): The prompt.
        gold (GoldText): The text with its mentions.
        labels (Mapping[str, str]): Label -> its name in the prompt.
        RETURNS (list[list[int]]): The tokens of each answer.
        """
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
    template (str): The template before the answer.
    pieces (Sequence[str]): The answer, split where mentions begin and end.
    """
    before = prompt.end_of_text
    if template == prompt.prompt.label:
        before = end_of_template(template)
    return prompt.split_answer(before, pieces)


# Lists of mentions


def escape(string: str, marks: str) -> str:
    """Write a backslash before each of the marks, and before backslashes.

    string (str): The string.
    marks (str): The characters that are marks.
    """
    return re.sub(f"[{re.escape(marks)}\\\\]", r"\\\g<0>", string)


def unescape(string: str) -> str:
    """The reverse of `escape`."""
    return _ESCAPED.sub(r"\1", string)


def write_list(mentions: Sequence[str], *, marks: str = "") -> list[str]:
    """Write mentions, separated by ", ".

    mentions (Sequence[str]): The mentions.
    marks (str): Marks of the format around the list.
    RETURNS (list[str]): The list, split where mentions begin and end.
    """
    pieces: list[str] = []
    for mention in mentions:
        # a comma inside a number or word does not separate mentions
        item = _COMMA.sub(r"\\,", escape(mention, marks))
        pieces += [",", f" {item}"] if pieces else [item]
    return pieces


def read_list(answer: str, start: int, end: int) -> list[Piece]:
    """Read the mentions of a list, without the whitespace around them.

    answer (str): The answer.
    start, end (int): The list's character offsets in it.
    """
    pieces = []
    ends = [
        m.start() for m in _ITEM_END.finditer(answer, start, end) if m.group() == ","
    ]
    for item_end in (*ends, end):
        pieces += read_item(answer, start, item_end)
        start = item_end + 1
    return pieces


def read_item(answer: str, start: int, end: int) -> list[Piece]:
    """Read the mention between two offsets, unless there is only whitespace.

    answer (str): The answer.
    start, end (int): Its character offsets.
    RETURNS (list[Piece]): The mention, or nothing.
    """
    raw = answer[start:end]
    start += len(raw) - len(raw.lstrip())
    raw = raw.strip()
    return [Piece(unescape(raw), start, start + len(raw))] if raw else []
