"""Find the columns of tokens and tags in a CoNLL-like file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
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

LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:")

BRACKETS = re.compile(r"(\([\w-]+)*\*\)*|\([\w-]+\)")
"""A tag of CoNLL-2012, or a part of its parse."""

# the keys of names in CoNLL-U, the most usual first
NAME_KEYS = ("ner", "ne", "tag", "entity", "name")


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
        column with neither tags nor token numbers.
    RETURNS (ColumnLayout): The columns.
    RAISES (ConversionError): If there are no such columns.
    """
    data = [x for x in lines if x.strip() and not may_be_comment(x)]
    tabs = 2 * sum("\t" in line for line in data) > len(data)
    rows = [split_columns(line, tabs=tabs) for line in data if DOCSTART not in line]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
    small = {i for i, values in enumerate(columns) if has_small_tags(values)}
    columns = [
        tuple(map(capital_tag, values)) if i in small else values
        for i, values in enumerate(columns)
    ]
    candidates = range(width) if tag_column is None else [tag_column % max(width, 1)]
    tags = _name_columns(columns, candidates, strict=True)
    key, bare, outside = None, False, "O"
    if not tags:
        tags, outside = _sparse_tags(columns, candidates)
    if not tags:
        tags, key, bare = _other_tags(path, columns, candidates)
        tags = tags or _name_columns(columns, candidates, strict=False)
    if tag_column is None and (width < 2 or not tags):
        if any(map(_are_brackets, columns)):
            raise ConversionError(Errors.P720.format(path=path))
        raise ConversionError(Errors.P209.format(path=path))
    tag = (tags or [0])[-1] if tag_column is None else tag_column
    token = token_column
    if token is None:
        token = _token_column(columns, tags or [tag % max(width, 1)])
    _check_columns(path, tag=tag, token=token, width=width)
    token, tag = token % width, tag % width
    tag_columns = tuple(column for column in tags if column != token) or (tag,)
    numbered = 0 not in (token, *tag_columns) and _mostly(NUMBER, columns[0])
    return ColumnLayout(
        tabs,
        width,
        token,
        tag_columns,
        numbered,
        key=key,
        bare=bare,
        outside=outside,
        small=not small.isdisjoint(tag_columns),
        language=_language(columns[token]),
    )


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
    tags = [i for i in candidates if i < len(columns) and _mostly(TAG, columns[i])]
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
) -> tuple[list[int], str]:
    """The column where tokens outside mentions have "_" or "-", and which of them."""
    for i in reversed([i for i in candidates if i < len(columns)]):
        others = {x for x in columns[i] if x == "O" or not TAG.fullmatch(x)}
        if len(others) == 1 and others <= {"_", "-"} and others != set(columns[i]):
            return [i], others.pop()
    return [], "O"


def _other_tags(
    path: Path, columns: list[tuple[str, ...]], candidates: Sequence[int]
) -> tuple[list[int], str | None, bool]:
    """The column of tags after a key, or of labels alone: column, key, whether bare."""
    for i in reversed([i for i in candidates if i < len(columns)]):
        if found := _find_key(path, columns[i]):
            return [i], *found
    for i in reversed([i for i in candidates if i < len(columns)]):
        values = [x for x in columns[i] if not HEADER.fullmatch(x) or x == "O"]
        if not is_bare(values) or len(columns) < 2:
            continue
        labels = set(values) - {"O"}
        if labels and all(map(BACKWARD.fullmatch, labels)):
            raise ConversionError(Errors.P215.format(path=path, tag=min(labels)))
        return [i], None, True
    return [], None, False


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


def _token_column(columns: list[tuple[str, ...]], tags: Sequence[int]) -> int:
    """Choose the first column that holds neither the tags nor token numbers."""
    others = [i for i in range(len(columns)) if i not in tags]
    if len(others) > 1 and _mostly(NUMBER, columns[others[0]]):
        return others[1]
    return others[0] if others else tags[0]


def _are_brackets(values: tuple[str, ...]) -> bool:
    """Whether values are brackets as in CoNLL-2012: (PERSON*, *, *)."""
    return all(map(BRACKETS.fullmatch, values)) and any("(" in x for x in values)


def _mostly(pattern: re.Pattern[str], values: tuple[str, ...]) -> bool:
    """Whether more than half of the values match."""
    return 2 * sum(pattern.fullmatch(value) is not None for value in values) > len(
        values
    )
