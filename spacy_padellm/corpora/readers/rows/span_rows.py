"""Rows of a text and its spans: doccano, Prodigy, spaCy and others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.mentions.annotators import check_users, example_of
from spacy_padellm.corpora.mentions.offsets import (
    SourceMention,
    char_spans,
    same_string,
)
from spacy_padellm.corpora.records import CorpusRecord, as_int
from spacy_padellm.errors import Warnings

TEXT_KEYS = (
    *("text", "data", "content", "sentence", "document"),
    *("full_text", "source_text"),
)
"""Keys of the text in most tools, in early doccano, in others, and in data sets."""

KEYS = (
    *("spans", "entities", "ents", "label", "labels", "annotations", "annotation"),
    "privacy_mask",
)
"""Keys of the list of mentions in Prodigy, doccano and spaCy, displaCy, doccano, and in
ai4privacy's data sets."""

FIELDS = (
    ("start", "end"),
    ("start_offset", "end_offset"),
    ("startOffset", "endOffset"),
    ("start_char", "end_char"),
    ("begin", "end"),
)
"""Keys of the offsets of a mention in Prodigy and spaCy, in doccano, and in others."""

LABEL_KEYS = (
    *("label", "labels", "type", "tag", "entity", "entity_type", "entity_group"),
    "category",
)

STRING_KEYS = ("text", "mention", "string")

MENTION = "a mention is neither {start, end, label} nor [start, end, label]"

BINARY_VIEW = "ner"
"""Prodigy's interface that asks about one span of a text."""

MANUAL_VIEWS = ("ner_manual", "spans_manual")
"""Its interfaces to mark all spans; texts without any may have no list of them."""

WITHOUT_OFFSETS = (
    "a mention has no start and end. Strings alone do not say where they are: add the "
    "offsets of each (text.find in Python)"
)


def is_span_row(row: dict[str, Any]) -> bool:
    """Check whether a row has a text.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it has.
    """
    return any(isinstance(row.get(key), str) for key in TEXT_KEYS)


def has_spans(row: dict[str, Any]) -> bool:
    """Check whether a row has a list of mentions, not of classes or tags.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it has.
    """
    lists = (row[key] for key in KEYS if isinstance(row.get(key), list | dict))
    return any(not values or not _plain(values) for values in lists)


def has_mentions(row: dict[str, Any]) -> bool:
    """Check whether a list of mentions of a row is not empty.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether one is not.
    """
    lists = (row[key] for key in KEYS if isinstance(row.get(key), list | dict))
    return any(_holds_any(values) and not _plain(values) for values in lists)


def read_span_row(row: dict[str, Any], line: int) -> CorpusRecord:
    """Read a row of a text and its spans.

    row (dict[str, Any]): A JSON object with a text.
    line (int): Its line.
    RETURNS (CorpusRecord): The record. Ends are exclusive.
    RAISES (ValueError): If it is malformed; with the reason.
    """
    text = next(row[key] for key in TEXT_KEYS if isinstance(row.get(key), str))
    # exports of Prodigy include rejected and ignored examples
    answer = row.get("answer", "accept")
    if answer != "accept":
        raise ValueError(f'its "answer" is {answer!r}, not "accept"')
    if row.get("_view_id") == BINARY_VIEW:
        raise ValueError(
            "it answers a question about one span (Prodigy's ner.teach), so other "
            "mentions in the text are not known. Annotate it with ner.manual"
        )
    made: list[tuple[Any, list[SourceMention]]] = []
    rejected = 0
    for mention in _mentions(row):
        if isinstance(mention, dict) and mention.get("answer", "accept") != "accept":
            if mention["answer"] != "reject":
                raise ValueError(
                    f'the "answer" of a span is {mention["answer"]!r}. Accept or '
                    "reject it"
                )
            rejected += 1
        else:
            made.append((mention, [*read_mention(mention, text)]))
    check_users(made)
    mentions = [mention for _, read in made for mention in read]
    spans, notes = char_spans(text, mentions)
    notes = (*[Warnings.W205] * rejected, *notes)
    return CorpusRecord(text, spans, line, notes=notes, example=example_of(row))


def _mentions(row: dict[str, Any]) -> list[Any]:
    """Find the list of mentions; without a list the text is not annotated."""
    found = {key: _as_list(row.get(key)) for key in KEYS}
    lists = {key: values for key, values in found.items() if values is not None}
    classes = [key for key in lists if lists[key] and _all_strings(lists[key])]
    for key in classes:
        del lists[key]
    if not lists and row.get("_view_id") in MANUAL_VIEWS:
        return []
    if not lists and classes:
        raise ValueError(
            f'"{classes[0]}" holds strings: classes of the whole text, or tags '
            "without their tokens. Export spans with start, end and label"
        )
    if not lists and "start" in row and "end" in row:
        raise ValueError(
            "a mention in each row is not read. Write each text once, with a list of "
            "its spans"
        )
    if not lists:
        written = [key for key in KEYS if str(row.get(key)).startswith(("[", "{"))]
        if written and isinstance(row[written[0]], str):
            raise ValueError(f'"{written[0]}" is a string, not a list of mentions')
        raise ValueError(f"no annotation: none of {', '.join(KEYS)} is a list")
    filled = [key for key in lists if lists[key]]
    if len(filled) > 1:
        raise ValueError(f"more than one list of mentions: {', '.join(filled)}")
    return lists[filled[0]] if filled else []


def _as_list(value: Any) -> list[Any] | None:
    """A list of mentions from a list, from groups of them, or from columns."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    columns = list(value.values())
    if columns and all(isinstance(x, list) and x and _all_strings(x) for x in columns):
        raise ValueError(WITHOUT_OFFSETS)
    if not columns or not all(isinstance(column, list) for column in columns):
        return None
    # Hugging Face's datasets make an object of lists of a list of objects
    if any(set(pair) <= value.keys() for pair in FIELDS):
        return [
            dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)
        ]
    # spaCy's groups of doc.spans
    return [mention for group in columns for mention in group]


def _plain(values: list[Any] | dict[str, Any]) -> bool:
    """Whether a list holds tags or their numbers."""
    return isinstance(values, list) and all(isinstance(x, str | int) for x in values)


def _holds_any(values: list[Any] | dict[str, Any]) -> bool:
    """Whether a list, or an object of groups or columns, is not empty."""
    return any(values.values()) if isinstance(values, dict) else bool(values)


def _all_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def read_mention(mention: Any, text: str) -> Iterator[SourceMention]:
    """Read a mention, which is an object or a list.

    mention (Any): `{start, end, label}`, `[start, end, label]`, `[label, start, end]`,
        or one of these with a fourth value.
    text (str): The text.
    YIELDS (SourceMention): One for each of its labels.
    RAISES (ValueError): If it is something else.
    """
    if isinstance(mention, dict):
        start, end, labels, string = _from_object(mention)
    elif isinstance(mention, list):
        start, end, labels, string = _from_list(mention, text)
    else:
        raise ValueError(MENTION)
    if is_whole(labels):
        raise ValueError(
            "a label is a number, not a name. Export with names (doccano: JSONL with "
            "text labels)"
        )
    labels = [labels] if isinstance(labels, str) else labels
    start, end = as_int(start), as_int(end)
    if start is None and end is None:
        raise ValueError(WITHOUT_OFFSETS)
    if not (is_whole(start) and is_whole(end) and isinstance(labels, list) and labels):
        raise ValueError(MENTION)
    if not _all_strings(labels):
        raise ValueError(MENTION)
    for label in labels:
        yield SourceMention(start, end, label, string)


def _from_object(mention: dict[str, Any]) -> tuple[Any, Any, Any, str | None]:
    """Start, end, labels and string of an object."""
    fields = next((pair for pair in FIELDS if pair[0] in mention), FIELDS[0])
    start, end = (mention.get(key) for key in fields)
    if is_whole(mention.get("offset")) and is_whole(mention.get("length")):
        start, end = mention["offset"], mention["offset"] + mention["length"]
    labels = next((mention[key] for key in LABEL_KEYS if key in mention), None)
    strings = (mention.get(key) for key in STRING_KEYS)
    string = next((value for value in strings if isinstance(value, str)), None)
    return start, end, labels, string


def _from_list(mention: list[Any], text: str) -> tuple[Any, Any, Any, str | None]:
    """Start, end, label and string of a list."""
    if len(mention) == 3 and isinstance(as_int(mention[0]), str):
        mention = [*mention[1:], mention[0]]
    if len(mention) not in (3, 4):
        raise ValueError(MENTION)
    start, end, label, *rest = *map(as_int, mention[:2]), *mention[2:]
    other = rest[0] if rest and isinstance(rest[0], str) else None
    if other is None or not (is_whole(start) and is_whole(end)):
        return start, end, label, None
    string = text[max(start, 0) : max(end, 0)]
    # either of the two strings may be that of the mention
    if same_string(string, other):
        return start, end, label, other
    if isinstance(label, str) and same_string(string, label):
        return start, end, other, label
    return start, end, label, None
