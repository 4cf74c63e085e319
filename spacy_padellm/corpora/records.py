"""What every reader yields: records, and the lines it could not take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CharSpan = tuple[int, int, str]
"""Start and end (characters, end exclusive) and label of one mention."""


class ConversionError(ValueError):
    """The data cannot be converted; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """One text with its gold mentions.

    text (str): The text as training will see it.
    spans (tuple[CharSpan, ...]): The mentions, duplicates and overlaps included.
    line (int): Line of the source file, from 1, where the record starts.
    words (list[str] | None): The source's tokens, where `text` was joined from
        them with blanks; None where the language's tokenizer is to be used.
    spaces (list[bool] | None): Whether a blank follows each of `words`.
    """

    text: str
    spans: tuple[CharSpan, ...]
    line: int
    words: list[str] | None = None
    spaces: list[bool] | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line, or the record that holds it, left out of the output.

    path (Path): The source file.
    line (int): Line number, from 1; 0 means the whole file.
    reason (str): What is wrong with it.
    """

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """RETURNS (str): File, line and reason as the command prints them."""
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.reason}"


def span_problem(text: str, span: CharSpan) -> str | None:
    """Say what is wrong with a mention.

    text (str): The text.
    span (CharSpan): The mention, in characters.
    RETURNS (str | None): The reason, or None if the mention lies in the text.
    """
    start, end, label = span
    if not 0 <= start < end <= len(text):
        return f"mention {start}-{end} is not within the {len(text)} characters"
    if not label:
        return f"mention {start}-{end} has an empty label"
    return None


def record_problem(record: CorpusRecord) -> str | None:
    """Say what is wrong with a record, whatever format it came from.

    record (CorpusRecord): The record.
    RETURNS (str | None): The reason, or None if a Doc can be made of it.
    """
    if not record.text.strip():
        return "the text is blank"
    try:
        record.text.encode("utf-8")
    except UnicodeEncodeError:
        return "the text holds half of a surrogate pair"
    problems = (span_problem(record.text, span) for span in record.spans)
    return next(filter(None, problems), None)


def is_int(value: object) -> bool:
    """Tell an int from other values, bool included.

    value (object): Any value, such as one read from JSON.
    RETURNS (bool): Whether it can serve as an offset.
    """
    return isinstance(value, int) and not isinstance(value, bool)
