"""Tables in CSV and Parquet: a text and its spans, or tokens and tags, in each row."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import BOM, read_start, read_text
from spacy_padellm.corpora.readers.rows.rows import read_row
from spacy_padellm.corpora.readers.rows.span_rows import TEXT_KEYS
from spacy_padellm.corpora.records import (
    BadLine,
    ConversionError,
    CorpusRecord,
    is_int,
)
from spacy_padellm.errors import Errors

DELIMITERS = (",", ";", "\t")

EXCEL_LINE = re.compile(r'\A"?sep=."?\r?\n')
"""The first line by which Excel knows the delimiter."""

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""

WORDS = ("word", "token", "form")
TAGS = ("tag", "ner", "ner_tag", "label", "iob")
SENTENCES = ("sentence #", "sentence", "sentence_id", "sent_id", "sentence_idx")
"""Names of the columns in a table of one token a row."""


def read_table(path: Path, *, joiner: str) -> Iterator[CorpusRecord | BadLine]:
    """Read a table.

    path (Path): A CSV or Parquet file.
    joiner (str): The separator of tokens in rows of tokens.
    YIELDS (CorpusRecord | BadLine): One per row; one per sentence in a table of one
        token a row.
    RAISES (ConversionError): If it cannot be read.
    """
    is_parquet = read_start(path).startswith(PARQUET)
    cells = _parquet_rows(path) if is_parquet else csv_rows(read_text(path))
    rows = ({name: _value(name, cell) for name, cell in row.items()} for row in cells)
    number = 0
    try:
        for number, row in sentences(rows):
            try:
                yield read_row(row, number, joiner=joiner)
            except ValueError as error:
                yield BadLine(path, number, str(error))
    except csv.Error as error:
        yield BadLine(path, number + 1, f"not CSV, the rest is left out: {error}")


def sentences(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Group rows of one token each into rows of sentences; leave others as they are.

    rows (Iterable[dict[str, Any]]): The rows of a table.
    YIELDS (tuple[int, dict[str, Any]]): The number of the row, from 1, and the row.
    """
    start, current = 0, ""
    tokens: list[Any] = []
    tags: list[Any] = []
    for number, row in enumerate(rows, start=1):
        word, tag, sentence = (
            next((row[name] for name in known if name in row), None)
            for known in (WORDS, TAGS, SENTENCES)
        )
        if not (isinstance(word, str) and isinstance(tag, str)):
            yield number, row
            continue
        # the name of a sentence may be in its first row alone
        if tokens and (not word or sentence not in ("", None, current)):
            yield start, {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
        if word:
            start = start if tokens else number
            current = sentence or current
            tokens.append(word)
            tags.append(tag)
    if tokens:
        yield start, {"tokens": tokens, "tags": tags}


def csv_rows(text: str) -> Iterator[dict[str, Any]]:
    """Read the rows of CSV.

    text (str): CSV with a first line of names, with commas, semicolons or tabs.
    YIELDS (dict[str, Any]): Name, in small letters -> cell.
    RAISES (csv.Error): If it is no CSV.
    """
    text = EXCEL_LINE.sub("", text.removeprefix(BOM), count=1)
    # whole documents are longer than the limit
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        yield {
            name.strip().lower(): cell
            for name, cell in row.items()
            if isinstance(name, str) and isinstance(cell, str)
        }


def _value(name: str, cell: Any) -> Any:
    """A list or object that was written into a cell; else the cell itself."""
    is_value = isinstance(cell, str) and cell.startswith(("[", "{"))
    if name in TEXT_KEYS or not is_value:
        return cell
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return _plain(value)
    return cell


def _plain(value: Any) -> Any:
    """Python's tuples as JSON's lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of Parquet; numbers of tags become their names."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        message = Errors.P400.format(package="pyarrow", extra="annotate")
        raise ConversionError(message) from error
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConversionError(Errors.P207.format(path=path, reason=error)) from error
    features = _features(table.schema.metadata or {})
    for row in table.to_pylist():
        yield {key: _named(cell, features.get(key)) for key, cell in row.items()}


def _features(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The features of the columns, as Hugging Face's datasets store them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _named(cell: Any, feature: Any) -> Any:
    """A cell with the names of its ClassLabels in place of their numbers.

    feature (Any): The cell's feature. Those of lists hold that of their items, and the
        items may be an object of columns.
    """
    if isinstance(feature, list):
        feature = {"feature": feature[0] if feature else None}
    if not isinstance(feature, dict):
        return cell
    inner = feature.get("feature", feature)
    if isinstance(cell, list):
        return [_named(item, inner) for item in cell]
    if isinstance(cell, dict) and isinstance(inner, dict):
        return {key: _named(value, inner.get(key)) for key, value in cell.items()}
    names = feature.get("names")
    if isinstance(names, list) and is_int(cell) and 0 <= cell < len(names):
        return names[cell]
    return cell
