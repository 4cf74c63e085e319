"""CLUENER's format: `{"text", "label": {type: {string: [[first, last]]}}}` a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.records import BadLine, CharSpan, CorpusRecord, is_int


def read_cluener(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a file of CLUENER's format.

    path (Path): The file.
    YIELDS (CorpusRecord | BadLine): One a line; ends are inclusive in the file, and a
        line whose offsets disagree with its strings is bad.
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
    """Make the record of one line; ValueError with the reason if it is bad."""
    if not (isinstance(value, dict) and isinstance(value.get("text"), str)):
        raise ValueError("not an object with a text")
    text, labels = value["text"], value.get("label")
    # A test part has no labels: missing annotation is not an empty one
    if not isinstance(labels, dict):
        raise ValueError('no annotation: "label" is not an object')
    spans: list[CharSpan] = []
    for label, strings in labels.items():
        if not isinstance(strings, dict):
            raise ValueError(f"label {label!r} is not an object of strings")
        for mention, places in strings.items():
            spans.extend(_spans(text, mention, label=label, places=places))
    return CorpusRecord(text, tuple(spans), line)


def _spans(text: str, mention: str, *, label: str, places: Any) -> Iterator[CharSpan]:
    """Turn the places of one string to spans, each checked against the text."""
    if not isinstance(places, list):
        raise ValueError(f"the places of {mention!r} are not a list")
    for place in places:
        if not (
            isinstance(place, list) and len(place) == 2 and all(map(is_int, place))
        ):
            raise ValueError(f"a place of {mention!r} is not [first, last]")
        first, last = place
        if first < 0 or text[first : last + 1] != mention:
            raise ValueError(f"{mention!r} is not at {first}-{last} (end inclusive)")
        yield first, last + 1, label
