"""Dataturks: rows of `{"content", "annotation": [{"label", "points"}]}`."""

from __future__ import annotations

from typing import Any

from spacy_padellm.corpora.mentions.offsets import SourceMention, char_spans
from spacy_padellm.corpora.readers.rows.span_rows import read_mention
from spacy_padellm.corpora.records import CorpusRecord


def is_dataturks(row: dict[str, Any]) -> bool:
    """Check whether a row is one of Dataturks.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it is.
    """
    return isinstance(row.get("content"), str) and "annotation" in row


def read_dataturks(row: dict[str, Any], line: int) -> CorpusRecord:
    """Read a row of Dataturks, whose ends are inclusive.

    row (dict[str, Any]): A JSON object for which `is_dataturks`.
    line (int): Its line.
    RETURNS (CorpusRecord): The record.
    RAISES (ValueError): If it is malformed or not annotated; with the reason.
    """
    annotations = row["annotation"]
    if not isinstance(annotations, list):
        raise ValueError('no annotation: "annotation" is not a list')
    mentions: list[SourceMention] = []
    for annotation in annotations:
        points = annotation.get("points") if isinstance(annotation, dict) else None
        if not isinstance(points, list) or not all(isinstance(x, dict) for x in points):
            raise ValueError('an annotation has no list of "points"')
        for point in points:
            mention = {**point, "label": annotation.get("label")}
            mentions += read_mention(mention, row["content"])
    spans, notes = char_spans(row["content"], mentions, inclusive=True)
    return CorpusRecord(row["content"], spans, line, notes=notes)
