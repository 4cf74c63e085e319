"""CLUENER: lines of `{"text", "label": {type: {string: [[first, last]]}}}`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.records import BadLine, CharSpan, CorpusRecord


def read_cluener(path: Path) -> Iterator[CorpusRecord | BadLine]:
    """Read a file in the format of CLUENER.

    path (Path): The file.
    YIELDS (CorpusRecord | BadLine): One per line. Ends are inclusive in the file. A
        line is bad if its offsets do not match its strings.
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
    text, labels = value["text"], value.get("label")
    # test sets have no labels; missing annotation is not empty annotation
    if not isinstance(labels, dict):
        raise ValueError('no annotation: "label" is not an object')
    spans: list[CharSpan] = []
    for label, strings in labels.items():
        if not isinstance(strings, dict):
            raise ValueError(f"label {label!r} is not an object of strings")
        for mention, occurrences in strings.items():
            spans.extend(_spans(text, mention, label=label, occurrences=occurrences))
    return CorpusRecord(text, tuple(spans), line)


def _spans(
    text: str, mention: str, *, label: str, occurrences: Any
) -> Iterator[CharSpan]:
    """Convert the occurrences of a string to spans and check them with the text."""
    if not isinstance(occurrences, list):
        raise ValueError(f"the occurrences of {mention!r} are not a list")
    for offsets in occurrences:
        if not (
            isinstance(offsets, list)
            and len(offsets) == 2
            and all(map(is_whole, offsets))
        ):
            raise ValueError(f"an occurrence of {mention!r} is not [first, last]")
        first, last = offsets
        if first < 0 or text[first : last + 1] != mention:
            raise ValueError(f"{mention!r} is not at {first}-{last} (end inclusive)")
        yield first, last + 1, label
