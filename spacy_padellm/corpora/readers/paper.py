"""The format of the paper: lines of `[text, [start, end, mention, label], ...]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.records import (
    BadLine,
    CharSpan,
    ConversionError,
    CorpusRecord,
)
from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the file.

    line (int): The line number, from 1.
    text (str): The text.
    mentions (list[tuple[int, int, str, str]]): Start, end, string and label of each
        mention.
    """

    line: int
    text: str
    mentions: list[tuple[int, int, str, str]]


@dataclass(frozen=True, slots=True)
class Convention:
    """The meaning of the indexes in a file.

    words (bool): Whether they count words of `text.split(" ")`, not characters.
    inclusive (bool): Whether the end is inclusive.
    """

    words: bool
    inclusive: bool

    def __str__(self) -> str:
        """RETURNS (str): The convention in words."""
        unit = "word" if self.words else "character"
        return f"{unit} indexes with {'in' if self.inclusive else 'ex'}clusive ends"


# on a tie the first one is chosen, e.g. in a file without mentions
CONVENTIONS = (
    Convention(words=False, inclusive=True),
    Convention(words=False, inclusive=False),
    Convention(words=True, inclusive=True),
    Convention(words=True, inclusive=False),
)


def read_paper(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a file in the format of the paper.

    path (Path): The file.
    YIELDS (CorpusRecord | BadLine): One per row; a row is bad if its indexes do not
        match its mention strings under the convention that fits most rows.
    """
    rows = [_parse(path, item) for item in read_json_lines(path)]
    convention = _find_convention(
        path, [row for row in rows if isinstance(row, PaperRow)]
    )
    for row in rows:
        yield row if isinstance(row, BadLine) else _record(path, row, convention)


def _parse(path: Path, item: tuple[int, Any] | BadLine) -> PaperRow | BadLine:
    """Check the structure of a row."""
    if isinstance(item, BadLine):
        return item
    line, value = item
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return BadLine(path, line, "not a list that starts with the text")
    text, *mentions = value
    if not all(map(_is_mention, mentions)):
        return BadLine(path, line, "a mention is not [start, end, mention, label]")
    return PaperRow(line, text, [(*mention,) for mention in mentions])


def _is_mention(value: object) -> bool:
    """Whether a value is `[start, end, mention, label]`."""
    if not (isinstance(value, list) and len(value) == 4):
        return False
    start, end, mention, label = value
    strings = isinstance(mention, str) and isinstance(label, str)
    return is_whole(start) and is_whole(end) and strings


def _find_convention(path: Path, rows: list[PaperRow]) -> Convention:
    """Choose the convention that fits most rows."""
    annotated = [row for row in rows if row.mentions]
    agree = {
        convention: sum(_disagreement(row, convention) is None for row in annotated)
        for convention in CONVENTIONS
    }
    best = max(CONVENTIONS, key=agree.__getitem__)
    # if every convention fails for most rows, the file has another format
    if 2 * agree[best] < len(annotated):
        raise ConversionError(
            Errors.P208.format(path=path, agree=agree[best], rows=len(annotated))
        )
    return best


def _locate(row: PaperRow, convention: Convention) -> list[CharSpan | None]:
    """Convert indexes to character spans; None for mentions out of range."""
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


def _disagreement(row: PaperRow, convention: Convention) -> str | None:
    """Describe the first mention whose indexes do not match its string, if any."""
    spans = _locate(row, convention)
    for (start, end, mention, _), span in zip(row.mentions, spans, strict=True):
        if span is None or row.text[span[0] : span[1]] != mention:
            return f"{mention!r} is not at {start}-{end} ({convention}, as in the file)"
    return None


def _record(
    path: Path, row: PaperRow, convention: Convention
) -> CorpusRecord | BadLine:
    """Make the record of a row, or a BadLine if the convention does not fit it."""
    if reason := _disagreement(row, convention):
        return BadLine(path, row.line, reason)
    spans = tuple(span for span in _locate(row, convention) if span)
    words = row.text.split(" ")
    # with word indexes, the text was joined from tokens; an empty word comes from a
    # double, leading or trailing space, which a Doc made from words cannot contain
    if convention.words and all(words):
        spaces = [True] * (len(words) - 1) + [False]
        return CorpusRecord(row.text, spans, row.line, words=words, spaces=spaces)
    return CorpusRecord(row.text, spans, row.line)
