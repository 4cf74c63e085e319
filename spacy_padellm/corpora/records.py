"""The results of all readers: records and bad lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy_padellm.checks import has_half_character

CharSpan = tuple[int, int, str]
"""Start and end (in characters, end exclusive) and label of a mention."""


class ConversionError(ValueError):
    """The data cannot be converted; the message says what to do."""


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """A text with its gold mentions.

    text (str): The text of the Doc.
    spans (tuple[CharSpan, ...]): The mentions, including duplicates and overlaps.
    line (int): The line of the source file, from 1, where the record starts; the number
        of the item if the file is one JSON value, or of the row of a table.
    words (list[str] | None): The tokens of the source, if `text` was joined from them
        with spaces; None to use the tokenizer of the language.
    spaces (list[bool] | None): Whether each of `words` is followed by a space.
    notes (tuple[str, ...]): What the reader left out or changed, of `Warnings`, once
        for each time.
    example (tuple[str, str | int] | None): The key and value that number the example in
        its tool; None if the source does not say.
    """

    text: str
    spans: tuple[CharSpan, ...]
    line: int
    words: list[str] | None = None
    spaces: list[bool] | None = None
    notes: tuple[str, ...] = ()
    example: tuple[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is left out of the output, together with its record.

    path (Path): The source file.
    line (int): The number of the line, item or row, from 1; 0 means the complete file.
    reason (str): What is wrong with it.
    """

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """RETURNS (str): File, line and reason, for the report of the command."""
        location = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{location}: {self.reason}"


def span_problem(text: str, span: CharSpan) -> str | None:
    """Check a mention.

    text (str): The text.
    span (CharSpan): The mention.
    RETURNS (str | None): What is wrong with it, or None.
    """
    start, end, label = span
    if start >= end:
        return f"mention {start}-{end} is empty or ends before it starts"
    if not 0 <= start < end <= len(text):
        return f"mention {start}-{end} is not within the {len(text)} characters"
    if not label.strip():
        return f"mention {start}-{end} has an empty label"
    if has_half_character(label):
        return f"the label of mention {start}-{end} contains half of a surrogate pair"
    return None


def record_problem(record: CorpusRecord) -> str | None:
    """Check a record of any format.

    record (CorpusRecord): The record.
    RETURNS (str | None): What is wrong with it, or None if it can become a Doc.
    """
    if not record.text.strip():
        return "the text is empty or only whitespace"
    if has_half_character(record.text):
        return "the text contains half of a surrogate pair"
    problems = (span_problem(record.text, span) for span in record.spans)
    return next(filter(None, problems), None)


def as_int(value: Any) -> Any:
    """Read an offset that is written in another way, as tables do: 5.0, "5".

    value (Any): A value from JSON or a table.
    RETURNS (Any): The int that it stands for, or else the value itself.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.0+)?", value.strip()):
        return int(value.strip().partition(".")[0])
    return value
