"""Tables in CSV and Parquet: a text and its spans, or tokens and tags, in each row."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import BOM, read_start, read_text
from spacy_padellm.corpora.readers.cells import cell_value
from spacy_padellm.corpora.readers.rows.rows import read_row
from spacy_padellm.corpora.readers.rows.span_rows import TEXT_KEYS
from spacy_padellm.corpora.records import (
    BadLine,
    ConversionError,
    CorpusRecord,
    is_int,
)
from spacy_padellm.corpora.tokens.tags import TAG
from spacy_padellm.errors import Errors

DELIMITERS = (",", ";", "\t")

EXCEL_LINE = re.compile(r'\A"?sep=."?\r?\n')
"""The first line by which Excel knows the delimiter."""

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""

WORDS = ("word", "token", "form")
MORE_WORDS = ("text", "words", "tokens")
TAGS = ("tag", "ner", "ner_tag", "label", "iob", "tags", "labels", "ner_tags")
SENTENCES = ("sentence #", "sentence", "sentence_id", "sent_id", "sentence_idx")
"""Names of the columns in a table of one token a row. `MORE_WORDS` are those of whole
texts, too."""


def read_table(path: Path, *, joiner: str) -> Iterator[CorpusRecord | BadLine]:
    """Read a table.

    path (Path): A CSV or Parquet file.
    joiner (str): The separator of tokens in rows of tokens.
    YIELDS (CorpusRecord | BadLine): One per row; one per sentence in a table of one
        token a row.
    RAISES (ConversionError): If it cannot be read.
    """
    is_parquet = read_start(path).startswith(PARQUET)
    cells = _parquet_rows(path) if is_parquet else csv_rows(path)
    rows = []
    bad: list[BadLine] = []
    try:
        for row in cells:
            rows.append(
                {k: x if k in TEXT_KEYS else cell_value(x) for k, x in row.items()}
            )
    except csv.Error as error:
        reason = f"not CSV, the rest is left out: {error}"
        bad.append(BadLine(path, len(rows) + 1, reason))
    for number, row in sentences(rows):
        try:
            yield read_row(row, number, joiner=joiner)
        except ValueError as error:
            yield BadLine(path, number, str(error))
    yield from bad


def sentences(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Group rows of one token each into rows of sentences; leave others as they are.

    rows (Sequence[dict[str, Any]]): The rows of a table; empty ones end a sentence.
    YIELDS (tuple[int, dict[str, Any]]): The number of the row, from 1, and the row.
    """
    names: tuple[tuple[str, ...], ...] = (WORDS, TAGS, SENTENCES)
    if all(map(_is_tagged, filter(None, rows))):
        names = (WORDS + MORE_WORDS, TAGS, SENTENCES)
    start, current = 0, ""
    tokens: list[Any] = []
    tags: list[Any] = []
    for number, row in enumerate(rows, start=1):
        word, tag, sentence = (
            next((row[name] for name in known if name in row), None) for known in names
        )
        is_token = isinstance(word, str) and isinstance(tag, str)
        # the name of a sentence may be in its first row alone
        is_new = not is_token or not word or sentence not in ("", None, current)
        if tokens and is_new:
            yield start, {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
        if is_token and word:
            start = start if tokens else number
            current = sentence or current
            tokens.append(word)
            tags.append(tag)
        elif row and not is_token:
            yield number, row
    if tokens:
        yield start, {"tokens": tokens, "tags": tags}


def _is_tagged(row: dict[str, Any]) -> bool:
    """Whether a row has a single word as its text, and its tag."""
    text, tag = (
        next((row[name] for name in known if name in row), None)
        for known in (MORE_WORDS, TAGS)
    )
    if not (isinstance(text, str) and isinstance(tag, str)):
        return False
    return not text.split()[1:] and TAG.fullmatch(tag.strip()) is not None


def csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of CSV.

    path (Path): CSV with a first line of names, with commas, semicolons or tabs.
    YIELDS (dict[str, Any]): Name, in small letters -> cell; empty for an empty line.
    RAISES (csv.Error): If it is no CSV.
    RAISES (ConversionError): If its first line holds no names.
    """
    text = EXCEL_LINE.sub("", read_text(path).removeprefix(BOM), count=1)
    # whole documents are longer than the limit
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip().lower() for name in next(lines, [])]
    if any(map(TAG.fullmatch, head.strip().split(delimiter)[1:])):
        raise ConversionError(Errors.P801.format(path=path, line=head.strip()))
    yield from (dict(zip(names, cells, strict=False)) for cells in lines)


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
