"""Output files are checked before long work starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spacy_padellm.errors import Errors


def make_writable(path: Path) -> None:
    """Check that a file can be written; creates its folder.

    RAISES (ValueError): If it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.is_file()  # raises, too, if the name is too long
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error
    if path.is_dir():
        raise ValueError(Errors.P197.format(path=path, error="it is a folder"))
    if not os.access(path.parent, os.W_OK):
        problem = "its folder is read-only"
        raise ValueError(Errors.P197.format(path=path, error=problem))


@contextmanager
def exit_if_unwritable(path: Path) -> Iterator[None]:
    """End a command with a message if its result cannot be written.

    path (Path): What is written inside the block.
    """
    try:
        yield
    except OSError as error:
        # imported here because the benchmark runs without spaCy and what it brings
        from wasabi import msg

        msg.fail(Errors.P725.format(path=path, error=error), exits=1)
