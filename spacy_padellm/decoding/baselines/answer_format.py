r"""How the baselines' answers are written: their tokens, and lists of mentions.

What a mention shares with the marks of a format is written with a backslash before it,
as is the backslash itself, so that an answer can be read back: `Paris\, Texas`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.token_strings import TokenStrings
from spacy_padellm.prompt.tokens import CountBranches, PromptTokens

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
        return text_branches(prompt, texts)

    def tokens(
        self, prompt: PromptTokens, gold: GoldText, labels: Mapping[str, str]
    ) -> list[list[int]]:
        """The answers to a text's prompts, each with `<eos>`."""
        template = prompt.prompt.label if self.by_label else prompt.prompt.text
        return [
            answer_tokens(prompt, template, self.write(gold, group))
            for group in self.groups(labels)
        ]


# Prompts and tokens


def text_branches(prompt: PromptTokens, texts: Sequence[str]) -> list[CountBranches]:
    """The text's template alone as a prompt, which a line break ends.

    prompt (PromptTokens): The prompt.
    texts (Sequence[str]): The texts.
    RETURNS (list[CountBranches]): For each text, one empty branch.
    """
    template = prompt.prompt
    branches = []
    for text, asked in zip(texts, prompt.count_branches(texts, [""]), strict=True):
        start, end = asked.text
        if template.whole:
            stem = template.text.format(text=text)
            if not _after(template.text, "text"):
                stem += _end_of_text(prompt)
            counted = template.text.format(text=text) + template.label.format(label="")
            stem_ids, counted_ids = prompt.strings.plain([stem, counted])
            path = asked.root + asked.labels[0]
            # what the tokenizer puts before every text, such as <bos>
            root = path[: len(path) - len(counted_ids)] + stem_ids
            end = len(root)
        else:
            root = asked.root[:end] + prompt.strings.template(_end_of_text(prompt))
        place = (start, end)
        branches.append(CountBranches(root, [[]], place, prompt.mutual(place)))
    return branches


def answer_tokens(
    prompt: PromptTokens, template: str, pieces: Sequence[str]
) -> list[int]:
    """Tokens of an answer, with `<eos>`.

    Like the prompt, it is tokenised piece by piece or in one go. Where the tokenizer
    puts a blank before every piece, a piece's own blank is left to it: a mention then
    is the same tokens in the answer as in the text.

    prompt (PromptTokens): The prompt.
    template (str): The template that the answer follows.
    pieces (Sequence[str]): The answer, cut where a mention begins and ends.
    """
    answer = "".join(pieces)
    if not answer:
        return [prompt.eos]
    if prompt.prompt.whole:
        before = _end_of_text(prompt)
        if template == prompt.prompt.label:
            before = _after(template, "label")
        prefix, joined = prompt.strings.plain([before, before + answer])
        if joined[: len(prefix)] != prefix:
            return [*prompt.strings.plain([answer])[0], prompt.eos]
        return [*joined[len(prefix) :], prompt.eos]
    if _puts_blanks(prompt.strings):
        pieces = [piece.removeprefix(" ") for piece in pieces]
    tokens = prompt.strings.plain([piece for piece in pieces if piece])
    return [*(token for ids in tokens for token in ids), prompt.eos]


def _puts_blanks(strings: TokenStrings) -> bool:
    """Whether the tokenizer puts a blank before every string."""
    return " x" in strings.decode(strings.plain(["x"])[0] * 2)


def _end_of_text(prompt: PromptTokens) -> str:
    """What stands between a text and the answer that follows it."""
    return _after(prompt.prompt.text, "text") or "\n"


def _after(template: str, field: str) -> str:
    """What stands after a template's only field."""
    return template.format(**{field: "\0"}).partition("\0")[2]


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
