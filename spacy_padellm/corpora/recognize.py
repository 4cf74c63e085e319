"""Recognise the format of a file by its content."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from spacy_padellm.checks import is_whole
from spacy_padellm.corpora.files import (
    foreign_message,
    plain_name,
    read_json_lines,
    read_start,
    read_text,
)
from spacy_padellm.corpora.foreign import file_name
from spacy_padellm.corpora.readers.brat import brat_partner
from spacy_padellm.corpora.readers.rows.span_rows import KEYS, TEXT_KEYS
from spacy_padellm.corpora.readers.table import DELIMITERS, PARQUET
from spacy_padellm.corpora.records import BadLine, ConversionError

SAMPLE = 100  # rows


def is_brat_folder(path: Path) -> bool:
    """Check whether a folder holds annotation of brat, perhaps beside other texts.

    path (Path): A file or folder.
    RETURNS (bool): Whether it does.
    """
    if not path.is_dir():
        return False
    return any(plain_name(file).suffix.lower() == ".ann" for file in path.iterdir())


def recognize(path: Path) -> str:
    """Recognise the format of a file.

    path (Path): The file.
    RETURNS (str): The name of a format that is read.
    RAISES (ConversionError): If the file is of a format that is not read.
    """
    suffix = plain_name(path).suffix.lower()
    if suffix == ".ann" or (suffix == ".txt" and brat_partner(path)):
        return "brat"
    start = read_start(path)
    if start.startswith(PARQUET):
        return "table"
    if suffix == ".spacy":
        known = "a .spacy file", "It needs no conversion: give it to spacy train."
        raise ConversionError(foreign_message(path, known))
    check_known(path)
    text = read_text(path)
    is_json = suffix in (".json", ".jsonl")
    if is_json or text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        items = islice(read_json_lines(path), SAMPLE)
        values = [item[1] for item in items if not isinstance(item, BadLine)]
        if values or is_json:
            return _json_format(values)
    return "table" if suffix == ".csv" or _is_table(text) else "conll"


def check_known(path: Path) -> None:
    """Check that a file is not of a format that is known and not read.

    path (Path): The file.
    RAISES (ConversionError): If it is; with its name and what to do instead.
    """
    if found := file_name(read_start(path)):
        raise ConversionError(foreign_message(path, found))


def _json_format(values: list[Any]) -> str:
    """The format of JSON."""
    if any(map(_is_paper, values)) or _are_bare_texts(values):
        return "paper"
    return "cluener" if any(map(_is_cluener, values)) else "jsonl"


def _is_paper(value: Any) -> bool:
    """Whether a value is `[text, [start, end, mention, label], ...]`."""
    if not (isinstance(value, list) and len(value) > 1 and isinstance(value[0], str)):
        return False
    return all(isinstance(x, list) and x and is_whole(x[0]) for x in value[1:])


def _are_bare_texts(values: list[Any]) -> bool:
    """Whether values are the paper's rows of texts without mentions."""
    return len(values) > 1 and all(
        isinstance(x, list) and len(x) == 1 and isinstance(x[0], str) for x in values
    )


def _is_cluener(value: Any) -> bool:
    """Whether a value is `{"text", "label": {label: {string: offsets}}}`."""
    labels = value.get("label") if isinstance(value, dict) else None
    if not isinstance(labels, dict) or not labels:
        return False
    return all(isinstance(strings, dict) for strings in labels.values())


def _is_table(text: str) -> bool:
    """Whether the first line names the columns of a text and its spans."""
    line = text.lstrip("\ufeff").partition("\n")[0].strip()
    for delimiter in DELIMITERS:
        names = {name.strip('" ').lower() for name in line.split(delimiter)}
        if names & set(TEXT_KEYS) and names & {*KEYS, "ner_tags"}:
            return True
    return False
