"""The paper's format: `[text, [start, end, mention, label], ...]` a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.records import (
    BadLine,
    CharSpan,
    ConversionError,
    CorpusRecord,
    is_int,
)
from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file has it.

    line (int): Line number, from 1.
    text (str): The text.
    mentions (list[tuple[int, int, str, str]]): Start, end, string and label.
    """

    line: int
    text: str
    mentions: list[tuple[int, int, str, str]]


@dataclass(frozen=True, slots=True)
class Convention:
    """What the indexes of a file mean.

    words (bool): They count words of `text.split(" ")`, not characters.
    inclusive (bool): The end is the last word or character, not the next.
    """

    words: bool
    inclusive: bool

    def __str__(self) -> str:
        """RETURNS (str): The convention in words."""
        unit = "word" if self.words else "character"
        return f"{unit} indexes with {'in' if self.inclusive else 'ex'}clusive ends"


# Characters first: the choice in a file without mentions, where any would do
CONVENTIONS = (
    Convention(words=False, inclusive=True),
    Convention(words=False, inclusive=False),
    Convention(words=True, inclusive=True),
    Convention(words=True, inclusive=False),
)


def read_paper(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a file of the paper's format.

    path (Path): The file.
    YIELDS (CorpusRecord | BadLine): One a row; bad where the indexes disagree with the
        mention string under the convention that fits most rows of the file.
    """
    rows = [_parse(path, item) for item in read_json_lines(path)]
    convention = _find_convention(path, [row for row in rows if isinstance(row, Row)])
    for row in rows:
        yield row if isinstance(row, BadLine) else _record(path, row, convention)


def _parse(path: Path, item: tuple[int, Any] | BadLine) -> Row | BadLine:
    """Check the shape of one row."""
    if isinstance(item, BadLine):
        return item
    line, value = item
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return BadLine(path, line, "not a list that starts with the text")
    text, *mentions = value
    if not all(map(_is_mention, mentions)):
        return BadLine(path, line, "a mention is not [start, end, mention, label]")
    return Row(line, text, [(*mention,) for mention in mentions])


def _is_mention(value: object) -> bool:
    """Tell whether a value is `[start, end, mention, label]`."""
    if not (isinstance(value, list) and len(value) == 4):
        return False
    start, end, mention, label = value
    strings = isinstance(mention, str) and isinstance(label, str)
    return is_int(start) and is_int(end) and strings


def _find_convention(path: Path, rows: list[Row]) -> Convention:
    """Choose the convention with which most rows agree."""
    annotated = [row for row in rows if row.mentions]
    agree = {
        convention: sum(_disagreement(row, convention) is None for row in annotated)
        for convention in CONVENTIONS
    }
    best = max(CONVENTIONS, key=agree.__getitem__)
    # A file that mostly disagrees with every convention is not of this format
    if 2 * agree[best] < len(annotated):
        raise ConversionError(
            Errors.P208.format(path=path, agree=agree[best], rows=len(annotated))
        )
    return best


def _locate(row: Row, convention: Convention) -> list[CharSpan | None]:
    """Turn indexes to characters; None for a mention that is out of range."""
    lengths = [len(word) for word in row.text.split(" ")]
    starts = list(accumulate((length + 1 for length in lengths), initial=0))
    size = len(lengths) if convention.words else len(row.text)
    spans: list[CharSpan | None] = []
    for start, end, _, label in row.mentions:
        last = end if convention.inclusive else end - 1
        if not 0 <= start <= last < size:
            spans.append(None)
        elif convention.words:
            spans.append((starts[start], starts[last] + lengths[last], label))
        else:
            spans.append((start, last + 1, label))
    return spans


def _disagreement(row: Row, convention: Convention) -> str | None:
    """Name the first mention whose indexes and string disagree, if any."""
    spans = _locate(row, convention)
    for (start, end, mention, _), span in zip(row.mentions, spans, strict=True):
        if span is None or row.text[span[0] : span[1]] != mention:
            return f"{mention!r} is not at {start}-{end} ({convention}, as in the file)"
    return None


def _record(path: Path, row: Row, convention: Convention) -> CorpusRecord | BadLine:
    """Make the record of a row that agrees with the file's convention."""
    if reason := _disagreement(row, convention):
        return BadLine(path, row.line, reason)
    spans = tuple(span for span in _locate(row, convention) if span)
    words = row.text.split(" ")
    # Word indexes: the text was joined from tokens. An empty "word" is a double
    # or edge blank, which spaCy's tokenizers can hold and a list of words cannot
    if convention.words and all(words):
        spaces = [True] * (len(words) - 1) + [False]
        return CorpusRecord(row.text, spans, row.line, words=words, spaces=spaces)
    return CorpusRecord(row.text, spans, row.line)
