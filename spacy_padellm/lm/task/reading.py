"""Read the small files of a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors


@contextmanager
def as_file_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors with a file into one that says what to do.

    path (Path): The file.
    RAISES (ValueError): If the system fails to read it.
    """
    try:
        yield
    except OSError as error:
        found = error.strerror or words_of(error)
        raise ValueError(Errors.P1031.format(path=path, error=found)) from error
