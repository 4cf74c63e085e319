"""Rows of tokens and their tags, as Hugging Face's datasets have them."""

from __future__ import annotations

from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.readers.rows.span_rows import TEXT_KEYS
from spacy_padellm.corpora.records import CorpusRecord
from spacy_padellm.corpora.tokens.tags import (
    LABEL,
    TAG,
    capital_tag,
    decode_tags,
    has_small_tags,
    is_bare,
    is_chunks,
)
from spacy_padellm.corpora.tokens.words import join_words
from spacy_padellm.errors import Warnings

NER_KEYS = ("ner_tags", "ner")
"""Keys of tags that are those of names, whatever they look like."""

OUTSIDE = ("O", "o", "", 0, None)
"""Tags of no mention; 0 is that of most data sets with numbers."""

TOKEN_KEYS = ("tokens", "words", "token", "word")


def is_token_row(row: dict[str, Any]) -> bool:
    """Check whether a row has tokens.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether it has.
    """
    return _tokens(row) is not None


def marks_mentions(row: dict[str, Any]) -> bool:
    """Check whether the tags of a row mark a mention.

    row (dict[str, Any]): A JSON object.
    RETURNS (bool): Whether a list of tags of names does, or one of `NER_KEYS` holds
        something else, such as numbers.
    """
    lists = {k: x for k, x in _with_lists(row).items() if isinstance(x, list)}
    named = [x for key in NER_KEYS for x in lists.get(key, [])]
    keys = lists.keys() - {*NER_KEYS, *TOKEN_KEYS}
    others = [_with_capitals(key, lists[key]) for key in keys]
    tagged = [x for x in others if _is_tags(x) and not is_chunks(x)]
    return any(tag not in OUTSIDE for tag in [*named, *(t for x in tagged for t in x)])


def read_token_row(row: dict[str, Any], line: int, *, joiner: str) -> CorpusRecord:
    """Read a row of tokens and tags.

    row (dict[str, Any]): A JSON object for which `is_token_row` is true.
    line (int): Its line.
    joiner (str): The separator of tokens, if the row has no text.
    RETURNS (CorpusRecord): The record. Several lists of tags are nested mentions.
    RAISES (ValueError): If it is malformed or has no tags; with the reason.
    """
    row = _with_lists(row)
    tokens = _tokens(row)
    if not tokens or not all(tokens):
        raise ValueError("a token is empty, or there is none")
    lists = {
        key: _with_capitals(key, value)
        for key, value in row.items()
        if key not in TOKEN_KEYS and isinstance(value, list)
        if len(value) == len(tokens)
    }
    columns = list(lists.values())
    found = _tag_lists(lists)
    names = list(found.values())
    bare = [
        column
        for key, column in lists.items()
        if _strings(column) and (is_bare(column) or key in NER_KEYS)
        if all(map(LABEL.fullmatch, column))
    ]
    keys = ", ".join(map(repr, found))
    notes = (Warnings.W968.format(keys=keys),) if len(found) > 1 else ()
    if not names and bare:
        notes = (Warnings.W207,)
        names = [[t if t == "O" else f"I-{t}" for t in column] for column in bare[-1:]]
    if not names:
        raise ValueError(_without_tags(row, columns))
    mentions = [mention for tags in names for mention in decode_tags(tags)]
    texts = (row[key] for key in TEXT_KEYS if isinstance(row.get(key), str))
    return join_words(
        tokens, mentions, line=line, joiner=joiner, text=next(texts, ""), notes=notes
    )


def _tag_lists(lists: dict[str, list[Any]]) -> dict[str, list[str]]:
    """The lists of B- and I-tags of names; one of chunks only if no other is of names,
    also without them."""
    tagged = {key: values for key, values in lists.items() if _is_tags(values)}
    names = {key: values for key, values in tagged.items() if not is_chunks(values)}
    named = [key for key in NER_KEYS if key in lists]
    chunks = [key for key in tagged if key in named or not named]
    return names or {key: tagged[key] for key in chunks[-1:]}


def _with_lists(row: dict[str, Any]) -> dict[str, Any]:
    """A row with strings of tags as lists: "B-PER O O"."""
    words = {
        key: value.split()
        for key, value in row.items()
        if key not in (*TEXT_KEYS, *TOKEN_KEYS) and isinstance(value, str)
    }
    return {**row, **{k: tags for k, tags in words.items() if tags and _is_tags(tags)}}


def _tokens(row: dict[str, Any]) -> list[str] | None:
    """The tokens of a row, or the words of its text if each has a tag."""
    row = _with_lists(row)
    lists = (row.get(key) for key in TOKEN_KEYS)
    tokens = next((x for x in lists if isinstance(x, list) and _strings(x)), None)
    texts = (row[key] for key in TEXT_KEYS if isinstance(row.get(key), str))
    words = next(texts, "").split()
    tagged = any(
        isinstance(x, list) and len(x) == len(words) and _is_tags(x)
        for x in row.values()
    )
    return words if tokens is None and words and tagged else tokens


def _with_capitals(key: str, values: list[Any]) -> list[Any]:
    """Tags in small letters as others."""
    if _strings(values) and has_small_tags(values, named=key in NER_KEYS):
        return [capital_tag(value) for value in values]
    return values


def _strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_tags(values: list[Any]) -> bool:
    return _strings(values) and all(map(TAG.fullmatch, values))


def _without_tags(row: dict[str, Any], columns: list[list[Any]]) -> str:
    """Say why a row has no tags."""
    if any(all(map(is_whole, column)) for column in columns):
        return (
            "the tags are numbers without their names. Export Parquet with "
            "dataset.to_parquet, which holds the names, or map the numbers with "
            "dataset.features['ner_tags'].feature.int2str"
        )
    if any(key in row for key in ("entities", "ner", "entity_mentions", "spans")):
        return (
            "mentions that count tokens are not read. Write a tag for each token "
            "(tokens and ner_tags: B-, I-, O)"
        )
    return "no list of tags (B-, I-, O) is as long as that of the tokens"
