"""CoNLL-like files: a token and its tag per line, empty lines between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spacy_padellm.corpora.conll_layout import (
    DOCSTART,
    ColumnLayout,
    find_layout,
    may_be_comment,
    split_columns,
)
from spacy_padellm.corpora.files import read_lines
from spacy_padellm.corpora.records import BadLine, CharSpan, CorpusRecord

# token ids of CoNLL-U that are not those of single words
EMPTY_NODE = re.compile(r"\d+\.\d+")
RANGE = re.compile(r"\d+-(\d+)")


@dataclass(slots=True)
class Sentence:
    """The lines of one sentence.

    text (str | None): The value of the `# text = ` comment.
    rows (list[tuple[int, list[str]]]): The line number, from 1, and columns of each
        line.
    """

    text: str | None = None
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


def read_conll(
    path: Path, *, joiner: str, tag_column: int | None, token_column: int | None
) -> Iterator[CorpusRecord | BadLine]:
    """Read a CoNLL-like file.

    path (Path): The file.
    joiner (str): The separator of tokens if the file does not contain the text: " ",
        or "" for Chinese.
    tag_column (int | None): The column of the tags, from 0; negative numbers count
        from the right. None to detect it.
    token_column (int | None): The column of the tokens, likewise.
    YIELDS (CorpusRecord | BadLine): One per sentence; the first malformed line if there
        is one.
    """
    lines = read_lines(path)
    if not any(map(str.strip, lines)):
        return
    layout = find_layout(path, lines, tag_column=tag_column, token_column=token_column)
    for sentence in _sentences(lines, layout):
        if layout.numbered:
            sentence.rows = _surface(sentence.rows, layout)
        if not sentence.rows:
            continue
        problems = [
            BadLine(path, line, f"{problem}; its sentence is left out")
            for line, row in sentence.rows
            if (problem := layout.problem(row))
        ]
        yield problems[0] if problems else _record(sentence, layout, joiner)


def _sentences(lines: list[str], layout: ColumnLayout) -> Iterator[Sentence]:
    """Group lines into sentences, without comments and document starts."""
    sentence = Sentence()
    for number, line in enumerate([*lines, ""], start=1):
        row = split_columns(line, tabs=layout.tabs)
        if not line.strip() or DOCSTART in row:
            if sentence.rows:
                yield sentence
            sentence = Sentence()
        elif may_be_comment(line) and layout.problem(row):
            key, _, value = line[1:].partition("=")
            if key.strip() == "text":
                sentence.text = value.strip()
        else:
            sentence.rows.append((number, row))


def _surface(
    rows: list[tuple[int, list[str]]], layout: ColumnLayout
) -> list[tuple[int, list[str]]]:
    """Restore the words of the text, which CoNLL-U splits into syntactic words.

    A range such as "2-3" is one word, and gets the first entity tag of its parts.
    """
    words: list[tuple[int, list[str]]] = []
    last = 0  # id of the last part of the preceding range
    for line, row in rows:
        number = row[0]
        if EMPTY_NODE.fullmatch(number):
            continue
        if parts := RANGE.fullmatch(number):
            last = int(parts[1])
            if len(row) == layout.width:
                row = [*row[: layout.tag], "O", *row[layout.tag + 1 :]]
        elif last and number.isdigit() and int(number) <= last:
            word = words[-1][1]
            if layout.problem(row):
                words.append((line, row))
            elif not layout.problem(word) and word[layout.tag] == "O":
                word[layout.tag] = row[layout.tag]
            continue
        else:
            last = 0
        words.append((line, row))
    return words


def _record(sentence: Sentence, layout: ColumnLayout, joiner: str) -> CorpusRecord:
    """Join the tokens of a well-formed sentence into a text."""
    words = [row[layout.token] for _, row in sentence.rows]
    tags = [row[layout.tag] for _, row in sentence.rows]
    line = sentence.rows[0][0]
    text = sentence.text or ""
    starts = _word_starts(text, words)
    has_text = starts is not None
    if starts is None:
        text = joiner.join(words)
        starts = [0]
        for word in words:
            starts.append(starts[-1] + len(word) + len(joiner))
    spans: list[CharSpan] = [
        (starts[first], starts[last] + len(words[last]), label)
        for first, last, label in decode_tags(tags)
    ]
    if has_text or not joiner:
        return CorpusRecord(text, tuple(spans), line)
    spaces = [True] * (len(words) - 1) + [False]
    return CorpusRecord(text, tuple(spans), line, words=words, spaces=spaces)


def _word_starts(text: str, words: list[str]) -> list[int] | None:
    """Find the words in a text; None if there is more than whitespace between."""
    starts: list[int] = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        starts.append(start)
        end = start + len(word)
    return None if text[end:].strip() else starts


def decode_tags(tags: list[str]) -> Iterator[tuple[int, int, str]]:
    """Decode the tags of a sentence.

    One rule decodes IOB1, IOB2, BIOES, BILUO and BMES: I, M, E and L continue a mention
    of their label, and start one if there is none. spaCy's `iob_to_biluo` would merge
    broken sequences such as "L-PER I-PER".

    tags (list[str]): Well-formed tags such as "O" and "B-PER".
    YIELDS (tuple[int, int, str]): First token, last token (inclusive) and label.
    """
    start: int | None = None
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if start is None or prefix in ("B", "S", "U"):
            start = index
        following = tags[index + 1] if index + 1 < len(tags) else "O"
        continues = following[0] in "IMEL" and following[2:] == label
        if prefix == "O":
            start = None
        elif not continues or prefix in ("E", "L", "S", "U"):
            yield start, index, label
            start = None
