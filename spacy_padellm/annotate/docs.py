"""Files of Docs: spaCy's DocBin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_padellm.annotate.files import AnnotateError, ShardError, open_file
from spacy_padellm.annotate.records import Cut, InputLayout, InputRecord, even_cuts
from spacy_padellm.errors import Errors


def inspect_docs(path: str, *, keep: Sequence[str], shard_size: int) -> InputLayout:
    """Count a file's Docs.

    RAISES (AnnotateError): If columns are to be kept: there are none.
    """
    if keep:
        message = Errors.P405.format(path=path, column=keep[0], known="text")
        raise AnnotateError(message)
    return InputLayout(even_cuts(len(_open(path)), shard_size), pa.schema([]))


def read_docbin(path: str, cut: Cut, vocab: Vocab) -> Iterator[InputRecord]:
    """Read a range of Docs, with what annotation they have.

    RAISES (ShardError): If the file is broken.
    """
    docs = _open(path).get_docs(vocab)
    with _whole(path):
        for row, doc in enumerate(islice(docs, cut.start, cut.stop), cut.start):
            yield InputRecord(row, doc.text, doc=doc)


def _open(path: str) -> DocBin:
    with open_file(path) as file:
        data = file.read()
    with _whole(path):
        return DocBin(store_user_data=True).from_bytes(data)


@contextmanager
def _whole(path: str) -> Iterator[None]:
    """Tell any error as a broken file: what is raised depends on which byte it is.

    RAISES (ShardError): Instead of it.
    """
    try:
        yield
    except Exception as error:
        raise ShardError(Errors.P403.format(path=path, error=error)) from error
