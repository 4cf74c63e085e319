"""Recognise the tool that wrote a row of JSON, or of a table."""

from __future__ import annotations

from typing import Any

from spacy_padellm.corpora.foreign import row_name
from spacy_padellm.corpora.readers.rows.dataturks import is_dataturks, read_dataturks
from spacy_padellm.corpora.readers.rows.label_studio import (
    is_min_row,
    is_task,
    read_min_row,
    read_task,
)
from spacy_padellm.corpora.readers.rows.span_rows import (
    TEXT_KEYS,
    has_mentions,
    has_spans,
    is_span_row,
    read_span_row,
)
from spacy_padellm.corpora.readers.rows.token_rows import (
    is_token_row,
    marks_mentions,
    read_token_row,
)
from spacy_padellm.corpora.records import CorpusRecord

# lists of rows in an object: ner-annotator, Rasa, and others
CONTAINERS = (
    *("annotations", "data", "examples", "common_examples", "entity_examples"),
    "rows",
)


def unpack_rows(value: Any) -> list[Any]:
    """The rows of a value.

    value (Any): A row, or an object that holds lists of rows.
    RETURNS (list[Any]): The rows.
    """
    if not isinstance(value, dict) or is_span_row(value) or is_task(value):
        return [value]
    inner = value.get("rasa_nlu_data", value)
    lists = [inner.get(key) for key in CONTAINERS] if isinstance(inner, dict) else []
    filled = [x for x in lists if isinstance(x, list) and any(map(is_row, x))]
    return [row for rows in filled for row in rows] or [value]


def is_row(value: Any) -> bool:
    """Check whether a value is a row that can be read.

    value (Any): The value.
    RETURNS (bool): Whether its kind is known.
    """
    row = _as_object(value)
    if row is None:
        return False
    kinds = (is_task, is_min_row, is_dataturks, is_span_row, is_token_row)
    return any(is_kind(row) for is_kind in kinds)


def read_row(value: Any, line: int, *, joiner: str) -> CorpusRecord:
    """Read a row of any tool.

    value (Any): The row.
    line (int): Its line.
    joiner (str): The separator of tokens in rows of tokens.
    RETURNS (CorpusRecord): The record.
    RAISES (ValueError): If it is malformed or of an unknown tool; with the reason.
    """
    row = _as_object(value)
    if row is None:
        raise ValueError("not an object with a text")
    if is_task(row):
        return read_task(row, line)
    if is_min_row(row):
        return read_min_row(row, line)
    if is_dataturks(row):
        return read_dataturks(row, line)
    has_tokens = is_token_row(row)
    is_annotated = is_span_row(row) and has_spans(row)
    is_accepted = row.get("answer", "accept") == "accept"
    if has_tokens and is_accepted and not has_mentions(row) and marks_mentions(row):
        is_annotated = False  # an empty list beside tags says nothing
    if not is_annotated and (name := row_name(row)):
        raise ValueError(name)
    if is_annotated or (is_span_row(row) and not has_tokens):
        return read_span_row(row, line)
    if has_tokens:
        return read_token_row(row, line, joiner=joiner)
    raise ValueError(
        f"no text: none of {', '.join(TEXT_KEYS)} is a string, and there are no tokens"
    )


def _as_object(value: Any) -> dict[str, Any] | None:
    """A row as an object; spaCy's tuples are lists of a text and its annotation."""
    if isinstance(value, dict):
        return value
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        return None
    text, annotation = value
    if isinstance(annotation, dict):
        return {**annotation, "text": text}
    if isinstance(annotation, list) and all(isinstance(x, list) for x in annotation):
        return {"text": text, "entities": annotation}
    return None
