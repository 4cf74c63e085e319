"""JSON lines and JSON files of annotation tools: a text and its spans in each row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.corpora.files import read_json_lines
from spacy_padellm.corpora.readers.rows.rows import read_row, unpack_rows
from spacy_padellm.corpora.records import BadLine, CorpusRecord


def read_jsonl(path: Path, *, joiner: str) -> Iterator[CorpusRecord | BadLine]:
    """Read a file of rows such as `{"text", "spans": [...]}`, one a line or in a list.

    path (Path): The file.
    joiner (str): The separator of tokens in rows of tokens.
    YIELDS (CorpusRecord | BadLine): One per row. Offsets are in characters; ends are
        exclusive.
    """
    for item in read_json_lines(path):
        if isinstance(item, BadLine):
            yield item
            continue
        line, value = item
        rows = unpack_rows(value)
        for number, row in enumerate(rows, start=1):
            position = number if len(rows) > 1 else line
            try:
                yield read_row(row, position, joiner=joiner)
            except ValueError as error:
                yield BadLine(path, position, str(error))
