"""Find the columns of tokens and tags in a CoNLL-like file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from spacy_padellm.corpora.readers.conll.columns import (
    DOCSTART,
    HEADER,
    ColumnLayout,
    keyed_values,
    may_be_comment,
    split_columns,
)
from spacy_padellm.corpora.records import ConversionError
from spacy_padellm.corpora.tokens.tags import (
    BACKWARD,
    LABEL,
    TAG,
    capital_tag,
    has_small_tags,
    is_bare,
    is_chunks,
    split_tag,
)
from spacy_padellm.errors import Errors

NUMBER = re.compile(r"\d+(-\d+|\.\d+)?")

OFFSETS = re.compile(r"\d+-\d+")

LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:")

BRACKETS = re.compile(r"(\([\w-]+)*\*\)*|\([\w-]+\)")
"""A tag of CoNLL-2012, or a part of its parse."""

# the keys of names in CoNLL-U, the most usual first
NAME_KEYS = ("ner", "ne", "tag", "entity", "name")


@dataclass(frozen=True, slots=True)
class TagColumns:
    """The columns of tags, and how they are written.

    columns (list[int]): The columns, from 0; empty if there are none.
    key (str | None), bare (bool), outside (str): As in `ColumnLayout`.
    """

    columns: list[int]
    key: str | None = None
    bare: bool = False
    outside: str = "O"


def find_layout(
    path: Path,
    lines: list[str],
    *,
    tag_column: int | None,
    token_column: int | None,
) -> ColumnLayout:
    """Detect the columns of a file.

    path (Path): The file, for messages.
    lines (list[str]): Its lines.
    tag_column (int | None): The column of the tags; negative numbers count from the
        right. None for all columns where most values are tags of names, else for the
        last one with tags.
    token_column (int | None): The column of the tokens, likewise. None for the first
        column with neither tags, token numbers nor names of sentences.
    RETURNS (ColumnLayout): The columns.
    RAISES (ConversionError): If there are no such columns.
    """
    tabs, columns, sentences = _read_columns(lines)
    width = len(columns)
    small = {i for i, values in enumerate(columns) if has_small_tags(values)}
    columns = [
        tuple(map(capital_tag, values)) if i in small else values
        for i, values in enumerate(columns)
    ]
    candidates = range(width) if tag_column is None else [tag_column % max(width, 1)]
    found = _find_tags(path, columns, [i for i in candidates if i < width])
    if tag_column is None and (width < 2 or not found.columns):
        brackets = any(map(_are_brackets, columns))
        message = Errors.P720 if brackets else Errors.P209
        raise ConversionError(message.format(path=path))
    tag = found.columns[-1] if tag_column is None else tag_column
    others = found.columns or candidates
    token = token_column
    if token is None:
        token = _token_column(columns, others, sentences)
    _check_columns(path, tag=tag, token=token, width=width)
    token %= width
    tags = tuple(x for x in found.columns if x != token) or (tag % width,)
    return ColumnLayout(
        tabs,
        width,
        token,
        tags,
        numbered=0 not in (token, *tags) and _mostly(NUMBER, columns[0]),
        key=found.key,
        bare=found.bare,
        outside=found.outside,
        small=not small.isdisjoint(tags),
        language=_language(columns[token]),
    )


def _read_columns(
    lines: Sequence[str],
) -> tuple[bool, list[tuple[str, ...]], list[int]]:
    """Whether there are tabs between the columns, the values of each, and the number of
    the sentence of each value."""
    data = [x for x in lines if not may_be_comment(x) and DOCSTART not in x]
    tabs = 2 * sum("\t" in line for line in data) > sum(map(bool, map(str.strip, data)))
    numbers = accumulate(not line.strip() for line in data)
    rows = [
        (number, split_columns(line, tabs=tabs))
        for number, line in zip(numbers, data, strict=True)
        if line.strip()
    ]
    widths = Counter(len(row) for _, row in rows)
    width = widths.most_common(1)[0][0] if rows else 0
    whole = [
        (number, [cell.strip() for cell in row])
        for number, row in rows
        if len(row) == width
    ]
    columns = list(zip(*(row for _, row in whole), strict=True))
    return tabs, columns, [number for number, _ in whole]


def _find_tags(
    path: Path, columns: list[tuple[str, ...]], candidates: Sequence[int]
) -> TagColumns:
    """Find the columns of tags, of the surest kind that there is."""
    if names := _name_columns(columns, candidates, strict=True):
        return TagColumns(names)
    found = _sparse_tags(columns, candidates) or _other_tags(path, columns, candidates)
    return found or TagColumns(_name_columns(columns, candidates, strict=False))


def _language(tokens: Sequence[str]) -> str:
    """What all tokens begin with, if it is a language: WikiANN's "en:"."""
    first = LANGUAGE.match(tokens[0]) if len(tokens) > 1 else None
    language = first.group() if first else ""
    return language if all(token.startswith(language) for token in tokens) else ""


def _check_columns(path: Path, *, tag: int, token: int, width: int) -> None:
    """Check that the columns of tags and tokens exist, and are not the same."""
    allowed = range(-width, width)
    if tag not in allowed or token not in allowed or (tag - token) % width == 0:
        message = Errors.P210.format(
            path=path,
            tag=tag,
            token=token,
            width=width,
            first=-width,
            last=width - 1,
        )
        raise ConversionError(message)


def _name_columns(
    columns: list[tuple[str, ...]], candidates: Sequence[int], *, strict: bool
) -> list[int]:
    """The columns of B- and I-tags; those of chunks only if there are no others.

    Strictly, a column with more labels alone than tags is none, although most of its
    values are "O".
    """
    tags = [i for i in candidates if _mostly(TAG, columns[i])]
    if strict:
        tags = [i for i in tags if not _has_bare_labels(columns[i])]
    names = [i for i in tags if not is_chunks(set(filter(TAG.fullmatch, columns[i])))]
    tags = names or tags[-1:]
    # a file of nothing but "O" has tokens too
    return tags[1:] if len(tags) == len(columns) else tags


def _has_bare_labels(values: Sequence[str]) -> bool:
    """Whether more values are labels alone than labels with B- or I-."""
    kinds = [value for value in values if value != "O" and LABEL.fullmatch(value)]
    tagged = sum(TAG.fullmatch(value) is not None for value in kinds)
    return tagged < len(kinds) - tagged


def _sparse_tags(
    columns: list[tuple[str, ...]], candidates: Sequence[int]
) -> TagColumns | None:
    """The column where tokens outside mentions have "_" or "-", and which of them."""
    for i in reversed(candidates):
        others = {x for x in columns[i] if x == "O" or not TAG.fullmatch(x)}
        if len(others) == 1 and others <= {"_", "-"} and others != set(columns[i]):
            return TagColumns([i], outside=others.pop())
    return None


def _other_tags(
    path: Path, columns: list[tuple[str, ...]], candidates: Sequence[int]
) -> TagColumns | None:
    """The column of tags after a key, or of labels alone."""
    for i in reversed(candidates):
        if found := _find_key(path, columns[i]):
            key, bare = found
            return TagColumns([i], key=key, bare=bare)
    for i in reversed(candidates):
        values = [x for x in columns[i] if not HEADER.fullmatch(x) or x == "O"]
        if not is_bare(values) or len(columns) < 2:
            continue
        labels = set(values) - {"O"}
        if labels and all(map(BACKWARD.fullmatch, labels)):
            raise ConversionError(Errors.P215.format(path=path, tag=min(labels)))
        return TagColumns([i], bare=True)
    return None


def _find_key(path: Path, cells: Sequence[str]) -> tuple[str, bool] | None:
    """The key whose values are tags in `key=value|key=value`, and whether bare."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for key, value in keyed_values(cell).items():
            values.setdefault(key, set()).add(value)
    if any(value.startswith("(") for value in values.get("Entity", ())):
        raise ConversionError(Errors.P216.format(path=path))
    found = [
        key
        for key, tags in values.items()
        if tags != {"O"}
        and all(TAG.fullmatch(part) for tag in tags for part in split_tag(tag))
    ]
    known = [key for name in NAME_KEYS for key in found if key.lower() == name]
    if known or found:
        return (known or found)[0], False
    labels = [
        key
        for name in NAME_KEYS
        for key, tags in values.items()
        if key.lower() == name and tags != {"O"} and all(map(LABEL.fullmatch, tags))
    ]
    return (labels[0], True) if labels else None


def _token_column(
    columns: list[tuple[str, ...]], tags: Sequence[int], sentences: Sequence[int]
) -> int:
    """Choose the first column that holds neither the tags, names of sentences, token
    numbers nor offsets."""
    others = [i for i in range(len(columns)) if i not in tags]
    others = [i for i in others if not _repeats(columns[i], sentences)] or others
    for pattern in (NUMBER, OFFSETS):
        if len(others) > 1 and _mostly(pattern, columns[others[0]]):
            others = others[1:]
    return others[0] if others else tags[0]


def _repeats(values: tuple[str, ...], sentences: Sequence[int]) -> bool:
    """Whether most values are those of the line before, as names of sentences are."""
    lines = list(zip(values, sentences, strict=True))
    pairs = [(a[0], b[0]) for a, b in pairwise(lines) if a[1] == b[1]]
    return len(pairs) > 1 and 2 * sum(a == b for a, b in pairs) > len(pairs)


def _are_brackets(values: tuple[str, ...]) -> bool:
    """Whether values are brackets as in CoNLL-2012: (PERSON*, *, *)."""
    return all(map(BRACKETS.fullmatch, values)) and any("(" in x for x in values)


def _mostly(pattern: re.Pattern[str], values: tuple[str, ...]) -> bool:
    """Whether more than half of the values match."""
    return 2 * sum(pattern.fullmatch(value) is not None for value in values) > len(
        values
    )
