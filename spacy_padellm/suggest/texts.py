"""The texts to choose from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_padellm.checks import check_path, has_half_character
from spacy_padellm.corpora.files import plain_name, read_json_lines, read_lines
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.suggest.formats import free_key
from spacy_padellm.text.tokenizing import text_problem

JSON = (".jsonl", ".json")
_NO_TEXTS = {
    *(".csv", ".tsv", ".parquet"),
    *(".conll", ".conllu", ".iob", ".iob2", ".bio", ".ann"),
}
"""Suffixes of tables, columns and annotation, whose lines are no texts."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text and where it comes from.

    text (str): The text.
    meta (dict[str, Any]): Its file and line, and the other values of a JSON object that
        are strings or finite numbers.
    """

    text: str
    meta: dict[str, Any] = field(default_factory=dict)


def read_texts(
    path: Path, *, nlp: Language, text_column: str
) -> Iterator[SourceText | BadLine]:
    """Read the texts of a file; empty ones are skipped.

    path (Path): A .spacy file, JSON or JSON lines, or else a text in each line; the
        latter two may end in .gz, .bz2 or .xz.
    nlp (Language): The pipeline that shall annotate them.
    text_column (str): JSON: the key of the text.
    YIELDS (SourceText | BadLine): Each text, or why a line has none.
    RAISES (ConversionError): If the file cannot be read.
    """
    found: Iterable[tuple[int, SourceText] | BadLine]
    suffix = plain_name(path).suffix.lower()
    check_texts(path)
    if suffix == ".spacy":
        found = _read_doc_bin(path)
    elif suffix in JSON:
        found = _read_json(path, text_column)
    else:
        lines = enumerate(read_lines(path), start=1)
        found = (_source(line, path, number, {}) for number, line in lines)
    for item in found:
        if isinstance(item, BadLine):
            yield item
            continue
        number, source = item
        if problem := text_problem(nlp, source.text):
            yield BadLine(path, number, problem)
        elif not _is_writable(source.text):
            yield BadLine(path, number, "its text holds half a character")
        elif source.text.strip():
            yield source


def check_texts(path: Path) -> None:
    """Check that a file is there and may hold texts.

    path (Path): The file.
    RAISES (ConversionError): If it is no file, or its suffix is that of a table or of
        columns.
    """
    try:
        check_path(path)
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # it is in a folder that may not be read
        raise ConversionError(Errors.P207.format(path=path, reason=error)) from error
    if is_folder:
        raise ConversionError(Errors.P972.format(path=path))
    if not is_file:
        message = Errors.P426 if path.exists() else Errors.P201
        raise ConversionError(message.format(path=path))
    if plain_name(path).suffix.lower() in _NO_TEXTS:
        raise ConversionError(Errors.P971.format(path=path))


def _read_doc_bin(path: Path) -> Iterator[tuple[int, SourceText]]:
    try:
        docs = list(DocBin().from_disk(path).get_docs(Vocab()))
    except Exception as error:  # a broken file can raise errors of many libraries
        raise ConversionError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error
    for number, doc in enumerate(docs, start=1):
        yield _source(doc.text, path, number, {})


def _read_json(
    path: Path, text_column: str
) -> Iterator[tuple[int, SourceText] | BadLine]:
    for item in _json_values(path):
        if isinstance(item, BadLine):
            yield item
            continue
        number, row = item
        text = row.get(text_column) if isinstance(row, dict) else row
        if not isinstance(text, str):
            yield BadLine(path, number, f'no string behind "{text_column}"')
            continue
        values = row if isinstance(row, dict) else {}
        kept = {
            key: value
            for key, value in values.items()
            if key != text_column and _is_writable(key) and _is_writable(value)
        }
        yield _source(text, path, number, kept)


def _is_writable(value: Any) -> bool:
    """Whether a value is a string or a number that JSON files in UTF-8 can hold."""
    if isinstance(value, str):
        return not has_half_character(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int)


def _json_values(path: Path) -> Iterator[tuple[int, Any] | BadLine]:
    """The values of JSON lines, or those of a file that is one list of texts."""
    for item in read_json_lines(path):
        if isinstance(item, BadLine) or not isinstance(item[1], list):
            yield item
        else:
            yield from enumerate(item[1], start=item[0])


def _source(
    text: str, path: Path, line: int, values: dict[str, Any]
) -> tuple[int, SourceText]:
    """The number of a line, and its text."""
    place = {free_key("source", values): f"{path.name}:{line}"}
    return line, SourceText(text, {**values, **place})
