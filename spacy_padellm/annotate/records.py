"""What stands in an input file: records, and places at which it can be cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from spacy.tokens import Doc


@dataclass(slots=True)
class InputRecord:
    """A text to annotate.

    row (int): Its row or line in the file, from 0.
    text (str): The text.
    columns (list[pa.Scalar]): Of the columns to keep.
    doc (Doc | None): The Doc, if the file holds Docs.
    """

    row: int
    text: str
    columns: list[pa.Scalar] = field(default_factory=list)
    doc: Doc | None = None


@dataclass(slots=True)
class BadRecord:
    """A record without a usable text.

    row (int): Its row or line in the file, from 0.
    reason (str): What is wrong with it.
    content (Any): What stands there, for a JSON file.
    """

    row: int
    reason: str
    content: Any


@dataclass(frozen=True, slots=True)
class Cut:
    """A range of rows of a file.

    start (int), stop (int): The rows, from 0, the end exclusive.
    offset (int): Bytes before the first one, decompressed; 0 where rows have none.
    """

    start: int
    stop: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How a file is cut, and which columns it has.

    cuts (list[Cut]): In order.
    columns (pa.Schema): The columns to keep.
    """

    cuts: list[Cut]
    columns: pa.Schema


def even_cuts(rows: int, size: int) -> list[Cut]:
    """Ranges of `size` rows; the last may be shorter."""
    return [Cut(start, min(start + size, rows)) for start in range(0, rows, size)]
