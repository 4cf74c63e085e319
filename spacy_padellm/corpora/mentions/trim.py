"""Blanks at the edges of mentions and labels, which are no part of them."""

from __future__ import annotations

from dataclasses import replace

from spacy_padellm.corpora.records import CharSpan, CorpusRecord
from spacy_padellm.errors import Warnings


def trim_spans(record: CorpusRecord) -> CorpusRecord:
    """Trim the mentions of a record.

    record (CorpusRecord): A record for which `record_problem` is None.
    RETURNS (CorpusRecord): The record with a note for each mention that was trimmed, or
        left out because it holds nothing but blanks.
    """
    spans: list[CharSpan] = []
    notes: list[str] = []
    for start, end, label in record.spans:
        string = record.text[start:end]
        first = start + len(string) - len(string.lstrip())
        last = start + len(string.rstrip())
        if first < last:
            spans.append((first, last, label.strip()))
        if first >= last:
            notes.append(Warnings.W202)
        elif (first, last) != (start, end):
            notes.append(Warnings.W201)
    return replace(record, spans=tuple(spans), notes=(*record.notes, *notes))
