"""JSON lines of doccano, prodigy and spaCy: a text and its spans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.records import BadLine, CharSpan, CorpusRecord, is_int

KEYS = ("spans", "entities", "ents", "label")
"""Keys of the list of mentions in prodigy, doccano and spaCy, displaCy, doccano."""

FIELDS = (("start", "end"), ("start_offset", "end_offset"))
"""Keys of the offsets of a mention in prodigy and spaCy, and in doccano."""


def read_jsonl(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a file with lines of `{"text", "spans": [...]}`.

    path (Path): The file.
    YIELDS (CorpusRecord | BadLine): One per line. Offsets are in characters; ends are
        exclusive.
    """
    for item in read_json_lines(path):
        if isinstance(item, BadLine):
            yield item
            continue
        line, value = item
        try:
            yield _record(value, line)
        except ValueError as error:
            yield BadLine(path, line, str(error))


def _record(value: Any, line: int) -> CorpusRecord:
    """Make the record of a line; ValueError with the reason if it is malformed."""
    if not (isinstance(value, dict) and isinstance(value.get("text"), str)):
        raise ValueError("not an object with a text")
    # exports of prodigy include rejected and ignored examples
    answer = value.get("answer", "accept")
    if answer != "accept":
        raise ValueError(f'its "answer" is {answer!r}, not "accept"')
    spans = tuple(map(_span, _mentions(value)))
    return CorpusRecord(value["text"], spans, line)


def _mentions(value: dict[str, Any]) -> list[Any]:
    """Find the list of mentions; without a list the text is not annotated."""
    lists = {key: value[key] for key in KEYS if isinstance(value.get(key), list)}
    if not lists:
        raise ValueError(f"no annotation: none of {', '.join(KEYS)} is a list")
    filled = [key for key in lists if lists[key]]
    if len(filled) > 1:
        raise ValueError(f"more than one list of mentions: {', '.join(filled)}")
    return lists[filled[0]] if filled else []


def _span(mention: Any) -> CharSpan:
    """Parse a mention, which is an object or `[start, end, label]`."""
    if isinstance(mention, dict):
        fields = next((pair for pair in FIELDS if pair[0] in mention), FIELDS[0])
        mention = [mention.get(key) for key in (*fields, "label")]
    if isinstance(mention, list) and len(mention) == 3:
        start, end, label = mention
        if is_int(start) and is_int(end) and isinstance(label, str):
            return start, end, label
    raise ValueError("a mention is neither {start, end, label} nor [start, end, label]")
