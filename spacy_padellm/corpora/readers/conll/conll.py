"""CoNLL-like files: a token and its tags per line, empty lines between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spacy_padellm.corpora.files import read_lines
from spacy_padellm.corpora.readers.conll.columns import (
    DOCSTART,
    ColumnLayout,
    may_be_comment,
    split_columns,
)
from spacy_padellm.corpora.readers.conll.layout import find_layout
from spacy_padellm.corpora.readers.conll.piped import unfold
from spacy_padellm.corpora.records import BadLine, CorpusRecord
from spacy_padellm.corpora.tokens.tags import decode_tags
from spacy_padellm.corpora.tokens.words import join_words
from spacy_padellm.errors import Warnings

# token ids of CoNLL-U that are not those of single words
EMPTY_NODE = re.compile(r"\d+\.\d+")
RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
ID = re.compile(r"\d{1,9}")


@dataclass(slots=True)
class Sentence:
    """The lines of one sentence.

    text (str | None): The value of the `# text = ` comment.
    rows (list[tuple[int, list[str]]]): The line number, from 1, and columns of each
        line; later of each word of the text.
    parts (list[tuple[int, list[str]]]): The index of the word, and the columns, of each
        line whose tags count.
    """

    text: str | None = None
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    parts: list[tuple[int, list[str]]] = field(default_factory=list)


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
    numbered = unfold(read_lines(path))
    lines = [line for _, line in numbered]
    if not any(map(str.strip, lines)):
        return
    layout = find_layout(path, lines, tag_column=tag_column, token_column=token_column)
    for sentence in _sentences(numbered, layout):
        _set_parts(sentence, layout)
        problems = [
            BadLine(path, line, f"{problem}; its sentence is left out")
            for line, row in sentence.rows
            if (problem := layout.problem(row))
        ]
        yield problems[0] if problems else _record(sentence, layout, joiner)


def _sentences(
    lines: list[tuple[int, str]], layout: ColumnLayout
) -> Iterator[Sentence]:
    """Group lines into sentences, without comments, header and document starts."""
    sentence = Sentence()
    known = _other_labels([line for _, line in lines], layout)
    is_first = True  # of the lines that are neither empty nor comments
    for number, line in [*lines, (0, "")]:
        row = split_columns(line, tabs=layout.tabs)
        is_header = is_first and layout.is_header(row)
        if not line.strip() or DOCSTART in row or is_header:
            if sentence.rows:
                yield sentence
            sentence = Sentence()
            is_first = is_first and not is_header
        elif may_be_comment(line) and _is_comment(row, layout, known):
            key, _, value = line[1:].partition("=")
            if key.strip() == "text":
                sentence.text = value.strip()
        else:
            sentence.rows.append((number, row))
            is_first = False


def _other_labels(lines: list[str], layout: ColumnLayout) -> set[str]:
    """The labels of the lines that are no comments, if there may be comments."""
    others = [line for line in lines if not may_be_comment(line)]
    if len(others) == len(lines):
        return set()
    rows = (split_columns(line, tabs=layout.tabs) for line in others)
    good = (row for row in rows if not layout.problem(row))
    return {label for row in good for label in layout.labels(row)}


def _is_comment(row: list[str], layout: ColumnLayout, known: set[str]) -> bool:
    """Whether a line that may be a comment is one.

    The last word of a comment may look like a tag, but has no label of other lines.
    """
    if layout.problem(row):
        return True
    # no comment has B- or I- behind a tab
    is_sure = layout.tabs and not layout.bare
    return not is_sure and not layout.labels(row) <= known


def _set_parts(sentence: Sentence, layout: ColumnLayout) -> None:
    """Restore the words of the text, which CoNLL-U splits into syntactic words.

    A range such as "2-3" is one word, with the tags of all its parts if it has none of
    its own. Where no row has a whole number, "2-3" and "2.3" are sentence and token.
    """
    rows = sentence.rows
    is_split = layout.numbered and any(ID.fullmatch(row[0]) for _, row in rows)
    if not is_split:
        sentence.parts = [(index, row) for index, (_, row) in enumerate(rows)]
        return
    words: list[tuple[int, list[str]]] = []
    parts: list[tuple[int, list[str]]] = []
    last = 0  # id of the last part of the preceding range
    tagged = False  # whether that range has tags of its own
    for index, (line, row) in enumerate(rows):
        number = row[0]
        if EMPTY_NODE.fullmatch(number):
            continue
        if end := _range_end(rows, index):
            last = end
            if len(row) == layout.width and not layout.key:
                row = ["O" if i in layout.tags else x for i, x in enumerate(row)]
            tagged = not layout.problem(row) and bool(layout.labels(row))
        elif last and ID.fullmatch(number) and int(number) <= last:
            if layout.problem(row):
                words.append((line, row))
            elif not tagged:
                parts.append((len(words) - 1, row))
            continue
        else:
            last = 0
        words.append((line, row))
        if not last or tagged:
            parts.append((len(words) - 1, row))
    sentence.rows, sentence.parts = words, parts


def _range_end(rows: list[tuple[int, list[str]]], index: int) -> int:
    """The last number of a range, whose first part is in the next row; else 0."""
    parts = RANGE.fullmatch(rows[index][1][0])
    following = rows[index + 1][1][0] if index + 1 < len(rows) else ""
    if parts is None or not ID.fullmatch(following):
        return 0
    first, last = int(parts[1]), int(parts[2])
    return last if int(following) == first < last else 0


def _record(sentence: Sentence, layout: ColumnLayout, joiner: str) -> CorpusRecord:
    """Join the tokens of a well-formed sentence into a text."""
    rows = [row for _, row in sentence.rows]
    words = [word for word, _ in sentence.parts]
    mentions = [
        (words[first], words[last], label)
        for column in layout.tags
        for first, last, label in decode_tags(
            [layout.tag(row, column) for _, row in sentence.parts]
        )
    ]
    return join_words(
        [layout.word(row) for row in rows],
        mentions,
        line=sentence.rows[0][0],
        joiner=joiner,
        text=sentence.text or "",
        joined=[_ends_joined(row, layout) for row in rows],
        notes=_notes(layout),
    )


def _ends_joined(row: list[str], layout: ColumnLayout) -> bool:
    """Whether CoNLL-U says that no space follows a token."""
    return layout.numbered and "SpaceAfter=No" in row[-1].split("|")


def _notes(layout: ColumnLayout) -> tuple[str, ...]:
    """What a user should know of how the tags were read."""
    columns = ", ".join(map(str, layout.tags))
    several = [Warnings.W206.format(columns=columns)] if len(layout.tags) > 1 else []
    return (*several, *([Warnings.W207] if layout.bare else []))
