"""Input files of lines: JSON lines and plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa

from spacy_padellm.annotate.files import AnnotateError, open_file
from spacy_padellm.annotate.records import BadRecord, InputLayout, InputRecord, RowRange
from spacy_padellm.errors import Errors

BLOCK = 1 << 20
SAMPLE_LINES = 1000
# type of a value -> column types that can hold it
WIDER = (
    (pa.types.is_integer, pa.types.is_integer),
    (pa.types.is_integer, pa.types.is_floating),
    (pa.types.is_floating, pa.types.is_floating),
    (pa.types.is_string, pa.types.is_large_string),
)
BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def inspect_lines(
    path: str,
    *,
    data_format: str,
    text_column: str,
    keep: Sequence[str],
    shard_size: int,
) -> InputLayout:
    """Divide a file of lines into ranges.

    path (str): The file.
    data_format (str): "jsonl" or "text".
    text_column (str): The column with the text.
    keep (Sequence[str]): The columns to keep.
    shard_size (int): The maximum number of rows per range.
    RAISES (AnnotateError): If a column is missing, the text column holds no text, or
        the file is in UTF-16.
    """
    with open_file(path) as file:
        if file.read(2) in UTF_16:
            raise AnnotateError(Errors.P973.format(path=path))
    with open_file(path) as file:
        row_ranges = find_row_ranges(file, shard_size)
    if not row_ranges:
        return InputLayout([], pa.schema([]))
    if data_format == "jsonl":
        sampled = row_ranges if keep else []
        lines = _sample_lines(path, sampled)
        columns = _find_columns(path, lines, text_column, keep)
        if columns is None:
            return InputLayout([], pa.schema([]))
        return InputLayout(row_ranges, columns)
    if keep:
        message = Errors.P405.format(path=path, column=keep[0], known="text")
        raise AnnotateError(message)
    return InputLayout(row_ranges, pa.schema([]))


def find_row_ranges(file: IO[bytes], size: int) -> list[RowRange]:
    """Divide a file into ranges of lines, with their byte offsets.

    file (IO[bytes]): The file, decompressed.
    size (int): The number of lines.
    """
    offsets, lines, position, last = [0], 0, 0, b"\n"
    while block := file.read(BLOCK):
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
        boundaries = ends[size - lines % size - 1 :: size]
        offsets += [position + int(end) + 1 for end in boundaries]
        lines += len(ends)
        position += len(block)
        last = block[-1:]
    lines += last != b"\n"
    starts = range(0, lines, size)
    # no range starts at a boundary at the end of the file
    return [
        RowRange(start, min(start + size, lines), offset)
        for start, offset in zip(starts, offsets, strict=False)
    ]


def _sample_lines(path: str, row_ranges: Sequence[RowRange]) -> list[bytes]:
    """Read the first lines, and about as many from the starts of later ranges."""
    with open_file(path) as file:
        lines = list(islice(file, SAMPLE_LINES))
        position = sum(map(len, lines))
        later = [rows for rows in row_ranges if rows.start >= SAMPLE_LINES]
        later = later[:: len(later) // SAMPLE_LINES + 1]
        for rows in later:
            _skip(file, rows.offset, position=position)
            count = min(SAMPLE_LINES // len(later), rows.stop - rows.start)
            found = list(islice(file, count))
            lines += found
            position = rows.offset + sum(map(len, found))
    return lines


def _find_columns(
    path: str, lines: Sequence[bytes], text_column: str, keep: Sequence[str]
) -> pa.Schema | None:
    """Infer the types of columns from some lines; None if all are empty."""
    if len(lines) < SAMPLE_LINES and not any(map(_has_text, lines)):
        return None
    values = [value for line in lines if isinstance(value := _parse(line), dict)]
    if not values:
        raise AnnotateError(Errors.P802.format(path=path))
    known = dict.fromkeys(key for value in values for key in value)
    for name in (text_column, *keep):
        if name not in known:
            message = Errors.P405.format(path=path, column=name, known=", ".join(known))
            raise AnnotateError(message)
    texts = [value[text_column] for value in values if text_column in value]
    if not any(isinstance(text, str) for text in texts):
        kind = type(texts[0]).__name__
        message = Errors.P406.format(path=path, column=text_column, kind=kind)
        raise AnnotateError(message)
    fields = [
        (name, _column_type([value.get(name) for value in values])) for name in keep
    ]
    return pa.schema(fields)


def _column_type(values: Sequence[Any]) -> pa.DataType:
    """Infer a type that can hold all values of a column; string, if there is no other.

    Values that Arrow cannot hold at all are passed over, as their rows are rejected.
    """
    written = [value for value in values if _is_writable(value)]
    try:
        found = pa.array(written).type
    except (pa.ArrowException, OverflowError):
        return pa.string()
    field = pa.field("", found)
    return found if all(_fits(value, field) for value in written) else pa.string()


def _is_writable(value: Any) -> bool:
    """Whether a value has no lone surrogates, which Arrow cannot hold."""
    try:
        _to_json(value).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _fits(value: Any, field: pa.Field) -> bool:
    """Whether Arrow, which may have found one type for 1.0 and true, keeps a value."""
    try:
        _scalar(value, field)
    except RecursionError:
        return True  # Parquet cannot hold it, as a message says later
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _has_text(line: bytes) -> bool:
    """Whether a line contains more than whitespace."""
    return bool(line.removeprefix(BOM).strip())


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(BOM))
    except (ValueError, RecursionError):
        return None


def read_line_range(path: str, rows: RowRange) -> Iterator[tuple[int, bytes]]:
    """Read a range of lines, without line ends and byte-order mark.

    path (str): The file.
    rows (RowRange): The range.
    YIELDS (tuple[int, bytes]): The number of the line, from 0, and the line.
    RAISES (EOFError): If the file ends before the range does.
    """
    with open_file(path) as file:
        _skip(file, rows.offset)
        for row in range(rows.start, rows.stop):
            line = file.readline()
            if not line:
                raise EOFError(f"it ended at line {row}, and was longer before")
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            yield row, line if row else line.removeprefix(BOM)


def _skip(file: IO[bytes], offset: int, *, position: int = 0) -> None:
    """Go from a position to an offset that is not before it."""
    if file.seekable():
        file.seek(offset)
        return
    size = offset - position
    while size > 0 and (block := file.read(min(size, BLOCK))):
        size -= len(block)


def read_text_records(path: str, rows: RowRange) -> Iterator[InputRecord | BadRecord]:
    """Read a range of lines, each of which is a text, even if it is empty.

    path (str): The file.
    rows (RowRange): The range.
    YIELDS (InputRecord | BadRecord): One for each line.
    """
    for row, line in read_line_range(path, rows):
        try:
            yield InputRecord(row, line.decode("utf8"))
        except UnicodeDecodeError as error:
            yield BadRecord(row, f"not UTF-8: {error}", line.decode("utf8", "replace"))


def read_jsonl_records(
    path: str, rows: RowRange, *, text_column: str, columns: pa.Schema
) -> Iterator[InputRecord | BadRecord]:
    """Read a range of lines, each of which is a JSON object or empty.

    path (str): The file.
    rows (RowRange): The range.
    text_column (str): The key of the text.
    columns (pa.Schema): The columns to keep.
    YIELDS (InputRecord | BadRecord): One for each line that is not empty.
    """
    for row, line in read_line_range(path, rows):
        if not line.strip():
            continue
        try:
            value = _load(line)
            if not isinstance(value, dict):
                raise ValueError("not a JSON object")
            if text_column not in value:
                raise ValueError(f"no text: there is no key '{text_column}'")
            text = value[text_column]
            if not isinstance(text, str):
                kind = "null" if text is None else type(text).__name__
                raise ValueError(f"no text: '{text_column}' is {kind}")
            scalars = [_kept_scalar(value.get(field.name), field) for field in columns]
            yield InputRecord(row, text, scalars)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            yield BadRecord(row, str(error), line.decode("utf8", "replace"))


def _load(line: bytes) -> Any:
    """Parse a line; ValueError if it is not JSON."""
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _kept_scalar(value: Any, field: pa.Field) -> pa.Scalar:
    """Convert a value of a kept column; ValueError with a remedy if it does not fit."""
    try:
        return _scalar(value, field)
    except UnicodeEncodeError as error:
        raise ValueError(Errors.P1022.format(error=error)) from error
    except (ValueError, TypeError, OverflowError) as error:
        reason = f"'{field.name}' is no {field.type}: {error}"
        raise ValueError(Errors.P1021.format(reason=reason)) from error


def _scalar(value: Any, field: pa.Field) -> pa.Scalar:
    """Convert a value; ValueError, TypeError or OverflowError if it does not fit."""
    if value is None:
        return pa.scalar(value, field.type)
    if pa.types.is_string(field.type) and not isinstance(value, str):
        value = _to_json(value)
    if pa.types.is_nested(field.type):
        # Arrow truncates numbers and drops unknown keys
        scalar = pa.scalar(value, field.type)
        if not _is_unchanged(scalar.as_py(), value):
            raise ValueError("its value would be changed")
        return scalar
    scalar = pa.scalar(value)
    if scalar.type == field.type:
        return scalar
    if any(narrow(scalar.type) and wide(field.type) for narrow, wide in WIDER):
        return scalar.cast(field.type)
    raise ValueError(f"it is {scalar.type}")


def _is_unchanged(converted: Any, value: Any) -> bool:
    """Whether Arrow kept a nested value unchanged; missing keys become null."""
    if isinstance(value, dict) and isinstance(converted, dict):
        missing = converted.keys() - value.keys()
        return (
            value.keys() <= converted.keys()
            and all(converted[key] is None for key in missing)
            and all(_is_unchanged(converted[key], value[key]) for key in value)
        )
    if isinstance(value, list) and isinstance(converted, list):
        return len(converted) == len(value) and all(
            map(_is_unchanged, converted, value)
        )
    both_nan = value != value and converted != converted
    same_kind = isinstance(converted, bool) == isinstance(value, bool)
    return bool(both_nan or (same_kind and converted == value))
