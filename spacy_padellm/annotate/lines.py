"""Files of lines: JSON lines and plain text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa

from spacy_padellm.annotate.files import AnnotateError, open_file
from spacy_padellm.annotate.records import BadRecord, Cut, InputLayout, InputRecord
from spacy_padellm.errors import Errors

BLOCK = 1 << 20
SAMPLE_LINES = 1000
# kinds of values that another file's type for the column may hold
WIDER = (
    (pa.types.is_integer, pa.types.is_integer),
    (pa.types.is_integer, pa.types.is_floating),
    (pa.types.is_floating, pa.types.is_floating),
    (pa.types.is_string, pa.types.is_large_string),
)
BOM = b"\xef\xbb\xbf"


def inspect_lines(
    path: str,
    *,
    data_format: str,
    text_column: str,
    keep: Sequence[str],
    shard_size: int,
) -> InputLayout:
    """Find where a file of lines can be cut; reads it through once.

    RAISES (AnnotateError): If a column is missing, or the text column holds no text.
    """
    with open_file(path) as file:
        cuts = cut_lines(file, shard_size)
    if not cuts:
        return InputLayout([], pa.schema([]))
    if data_format == "jsonl":
        columns = _sample_columns(path, text_column, keep)
        if columns is None:
            return InputLayout([], pa.schema([]))
        return InputLayout(cuts, columns)
    if keep:
        message = Errors.P405.format(path=path, column=keep[0], known="text")
        raise AnnotateError(message)
    return InputLayout(cuts, pa.schema([]))


def cut_lines(file: IO[bytes], size: int) -> list[Cut]:
    """Ranges of `size` lines, with the place of each in the file."""
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
    # a last boundary at the end of the file begins no range
    return [
        Cut(start, min(start + size, lines), offset)
        for start, offset in zip(starts, offsets, strict=False)
    ]


def _sample_columns(
    path: str, text_column: str, keep: Sequence[str]
) -> pa.Schema | None:
    """The types of columns, by the first lines; None if the file is all blanks."""
    with open_file(path) as file:
        lines = list(islice(file, SAMPLE_LINES))
    if len(lines) < SAMPLE_LINES and not any(map(_is_text, lines)):
        return None
    values = [value for line in lines if isinstance(value := _parse(line), dict)]
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
    fields = [(name, _kind([value.get(name) for value in values])) for name in keep]
    return pa.schema(fields)


def _kind(values: Sequence[Any]) -> pa.DataType:
    """The type of a column; if its values differ, that of the most."""
    try:
        return pa.array(values).type
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        types = Counter(type(value) for value in values if value is not None)
        common = types.most_common(1)[0][0]
        for value in values:
            if type(value) is common:
                # lone surrogates are in no type; the row is rejected later
                with suppress(pa.ArrowException, OverflowError, UnicodeEncodeError):
                    return pa.scalar(value).type
        return pa.null()


def _is_text(line: bytes) -> bool:
    """Whether a line has more than blanks."""
    return bool(line.removeprefix(BOM).strip())


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(BOM))
    except (ValueError, RecursionError):
        return None


def read_lines(path: str, cut: Cut) -> Iterator[tuple[int, bytes]]:
    """The lines of a range, without line ends and byte-order mark, by number."""
    with open_file(path) as file:
        _skip(file, cut.offset)
        for row in range(cut.start, cut.stop):
            line = file.readline()
            if not line:
                raise EOFError(f"it ended at line {row}, and was longer before")
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            yield row, line if row else line.removeprefix(BOM)


def _skip(file: IO[bytes], size: int) -> None:
    if file.seekable():
        file.seek(size)
        return
    while size > 0 and (block := file.read(min(size, BLOCK))):
        size -= len(block)


def read_text(path: str, cut: Cut) -> Iterator[InputRecord | BadRecord]:
    """Read a range of lines, each a text, an empty one too."""
    for row, line in read_lines(path, cut):
        try:
            yield InputRecord(row, line.decode("utf8"))
        except UnicodeDecodeError as error:
            yield BadRecord(row, f"not UTF-8: {error}", line.decode("utf8", "replace"))


def read_jsonl(
    path: str, cut: Cut, *, text_column: str, columns: pa.Schema
) -> Iterator[InputRecord | BadRecord]:
    """Read a range of lines, each a JSON object; blank lines are passed over."""
    for row, line in read_lines(path, cut):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("not a JSON object")
            text = value.get(text_column)
            if not isinstance(text, str):
                kind = "null" if text is None else type(text).__name__
                raise ValueError(f"no text: '{text_column}' is {kind}")
            scalars = [_scalar(value.get(field.name), field) for field in columns]
            yield InputRecord(row, text, scalars)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            yield BadRecord(row, str(error), line.decode("utf8", "replace"))


def _scalar(value: Any, field: pa.Field) -> pa.Scalar:
    """A value of a kept column; ValueError if its type is not the column's."""
    if value is None:
        return pa.scalar(value, field.type)
    if pa.types.is_nested(field.type):
        # Arrow cuts numbers, and drops the keys that it does not know
        scalar = pa.scalar(value, field.type)
        if not _same(scalar.as_py(), value):
            raise ValueError(f"'{field.name}' is no {field.type}")
        return scalar
    scalar = pa.scalar(value)
    if scalar.type == field.type:
        return scalar
    if any(narrow(scalar.type) and wide(field.type) for narrow, wide in WIDER):
        return scalar.cast(field.type)
    raise ValueError(f"'{field.name}' is {scalar.type}, not {field.type}")


def _same(found: Any, value: Any) -> bool:
    """Whether a nested value was taken as it is; keys that it lacks are null."""
    if isinstance(value, dict) and isinstance(found, dict):
        missing = found.keys() - value.keys()
        return (
            value.keys() <= found.keys()
            and all(found[key] is None for key in missing)
            and all(_same(found[key], value[key]) for key in value)
        )
    if isinstance(value, list) and isinstance(found, list):
        return len(found) == len(value) and all(map(_same, found, value))
    both_nan = value != value and found != found
    return bool(both_nan or found == value)
