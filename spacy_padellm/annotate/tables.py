"""Input files in Parquet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from spacy_padellm.annotate.files import AnnotateError, open_file
from spacy_padellm.annotate.records import (
    BadRecord,
    InputLayout,
    InputRecord,
    RowRange,
    even_row_ranges,
    plain_value,
)
from spacy_padellm.errors import Errors

READ_ROWS = 1000
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def inspect_parquet(
    path: str, *, text_column: str, keep: Sequence[str], shard_size: int
) -> InputLayout:
    """Divide a file into ranges; reads only its footer.

    path (str): The file.
    text_column (str): The column with the text.
    keep (Sequence[str]): The columns to keep.
    shard_size (int): The maximum number of rows per range.
    RAISES (AnnotateError): If a column is missing, or the text column holds no text.
    """
    with open_file(path) as raw:
        footer = _hash_footer(raw)
        file = pq.ParquetFile(raw)
        schema, rows = file.schema_arrow, file.metadata.num_rows
    for name in (text_column, *keep):
        if name not in schema.names:
            known = ", ".join(schema.names)
            message = Errors.P405.format(path=path, column=name, known=known)
            raise AnnotateError(message)
        if schema.names.count(name) > 1:
            raise AnnotateError(Errors.P423.format(path=path, column=name))
    kind = _value_type(schema.field(text_column).type)
    if not any(is_text(kind) for is_text in TEXTS):
        message = Errors.P406.format(path=path, column=text_column, kind=kind)
        raise AnnotateError(message)
    kept = [pa.field(name, _value_type(schema.field(name).type)) for name in keep]
    return InputLayout(even_row_ranges(rows, shard_size), pa.schema(kept), footer)


def hash_footer(path: str) -> str:
    """Hash the footer of a file, which says where each of its parts is."""
    with open_file(path) as raw:
        return _hash_footer(raw)


def _hash_footer(raw: IO[bytes]) -> str:
    tail = 8  # bytes: the footer's length and the format's name
    end = raw.seek(0, os.SEEK_END)
    raw.seek(max(end - tail, 0))
    size = int.from_bytes(raw.read(4), "little")
    raw.seek(max(end - tail - size, 0))
    digest = hashlib.sha256(raw.read(size + tail)).hexdigest()
    raw.seek(0)
    return digest


def _value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, without dictionary encoding."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def read_parquet(
    path: str, rows: RowRange, *, text_column: str, columns: pa.Schema
) -> Iterator[InputRecord | BadRecord]:
    """Read a range of rows, with at most one batch in memory.

    path (str): The file.
    rows (RowRange): The range.
    text_column (str): The column with the text.
    columns (pa.Schema): The columns to keep.
    YIELDS (InputRecord | BadRecord): One for each row.
    RAISES (EOFError): If the file ends before the range does.
    """
    with open_file(path) as raw:
        file = pq.ParquetFile(raw)
        groups, row = _row_groups(file.metadata, rows)
        names = list(dict.fromkeys([text_column, *columns.names]))
        for batch in file.iter_batches(READ_ROWS, row_groups=groups, columns=names):
            first, last = max(rows.start - row, 0), min(rows.stop - row, len(batch))
            texts = batch.column(text_column)
            kept = [batch.column(field.name) for field in columns]
            for i in range(first, last):
                values = [column[i] for column in kept]
                yield _record(row + i, texts[i], values, columns)
            row += len(batch)
            if row >= rows.stop:
                return
        raise EOFError(f"it ended at row {row}, and was longer before")


def _row_groups(metadata: pq.FileMetaData, rows: RowRange) -> tuple[list[int], int]:
    """Find the row groups of a range, and the first row of the first group."""
    groups: list[int] = []
    first = row = 0
    for group in range(metadata.num_row_groups):
        end = row + metadata.row_group(group).num_rows
        if row < rows.stop and rows.start < end:
            first = first if groups else row
            groups.append(group)
        row = end
    return groups, first


def _record(
    row: int, text: pa.Scalar, values: list[pa.Scalar], columns: pa.Schema
) -> InputRecord | BadRecord:
    try:
        string = text.as_py()
    except UnicodeDecodeError as error:
        return BadRecord(row, f"not UTF-8: {error}", None)
    content = dict(zip(columns.names, values, strict=True))
    try:
        if string is None:
            raise ValueError("no text: null")
        # the column may have a wider type because of another file
        scalars = [_cast(content[field.name], field.type) for field in columns]
    except (ValueError, pa.ArrowException) as error:
        plain = {name: plain_value(value)[0] for name, value in content.items()}
        return BadRecord(row, str(error), plain)
    return InputRecord(row, string, scalars)


def _cast(value: pa.Scalar, kind: pa.DataType) -> pa.Scalar:
    return value if value.type == kind else value.cast(kind)
