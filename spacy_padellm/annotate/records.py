"""The records of an input file, and the ranges it is divided into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from spacy.tokens import Doc


@dataclass(slots=True)
class InputRecord:
    """A text to annotate.

    row (int): The row or line in the file, from 0.
    text (str): The text.
    columns (list[pa.Scalar]): The values of the columns to keep.
    doc (Doc | None): The Doc, if the file contains Docs.
    """

    row: int
    text: str
    columns: list[pa.Scalar] = field(default_factory=list)
    doc: Doc | None = None


@dataclass(slots=True)
class BadRecord:
    """A record without a usable text.

    row (int): The row or line in the file, from 0.
    reason (str): Why it cannot be used.
    content (Any): The content of the record, for the JSON file of rejected records.
    """

    row: int
    reason: str
    content: Any


@dataclass(frozen=True, slots=True)
class RowRange:
    """A range of rows in a file.

    start (int), stop (int): The rows, from 0; `stop` is exclusive.
    offset (int): The byte offset of the first row in the decompressed file; 0 for
        formats that do not need it.
    """

    start: int
    stop: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class InputLayout:
    """The ranges and columns of a file.

    row_ranges (list[RowRange]): The ranges, in order.
    columns (pa.Schema): The columns to keep.
    footer (str): The hash of a Parquet file's footer, else empty.
    """

    row_ranges: list[RowRange]
    columns: pa.Schema
    footer: str = ""


def even_row_ranges(rows: int, size: int) -> list[RowRange]:
    """Divide rows into ranges of `size`; the last one may be shorter."""
    return [RowRange(start, min(start + size, rows)) for start in range(0, rows, size)]


def plain_value(scalar: pa.Scalar) -> tuple[Any, str]:
    """Convert a value of a column to one of Python.

    RETURNS (tuple[Any, str]): The value, or None and why it cannot be converted.
    """
    try:
        return scalar.as_py(), ""
    except (ValueError, OverflowError, pa.ArrowException) as error:
        reason = str(error)
    try:
        # times in nanoseconds without the package pandas
        return scalar.cast(pa.string()).as_py(), ""
    except (ValueError, pa.ArrowException):
        return None, reason
