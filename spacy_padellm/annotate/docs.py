"""Input files of Docs: spaCy's DocBin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_padellm.annotate.files import AnnotateError, ShardError, open_file
from spacy_padellm.annotate.records import (
    InputLayout,
    InputRecord,
    RowRange,
    even_row_ranges,
)
from spacy_padellm.errors import Errors


def inspect_docs(path: str, *, keep: Sequence[str], shard_size: int) -> InputLayout:
    """Count the Docs of a file.

    path (str): The file.
    keep (Sequence[str]): The columns to keep.
    shard_size (int): The maximum number of rows per range.
    RAISES (AnnotateError): If columns are to be kept, because a DocBin has none.
    """
    if keep:
        message = Errors.P405.format(path=path, column=keep[0], known="text")
        raise AnnotateError(message)
    return InputLayout(
        even_row_ranges(len(_load_docbin(path)), shard_size), pa.schema([])
    )


def read_docbin(path: str, rows: RowRange, vocab: Vocab) -> Iterator[InputRecord]:
    """Read a range of Docs with their annotation.

    path (str): The file.
    rows (RowRange): The range.
    vocab (Vocab): The vocabulary of the Docs.
    RAISES (ShardError): If the file is broken.
    """
    docs = _load_docbin(path).get_docs(vocab)
    with _wrap_errors(path):
        for row, doc in enumerate(islice(docs, rows.start, rows.stop), rows.start):
            yield InputRecord(row, doc.text, doc=doc)


def _load_docbin(path: str) -> DocBin:
    with open_file(path) as file:
        data = file.read()
    with _wrap_errors(path):
        return DocBin(store_user_data=True).from_bytes(data)


@contextmanager
def _wrap_errors(path: str) -> Iterator[None]:
    """Report any error as a broken file; its type depends on which byte is wrong.

    RAISES (ShardError): Instead of the error.
    """
    try:
        yield
    except Exception as error:
        raise ShardError(Errors.P403.format(path=path, error=error)) from error
