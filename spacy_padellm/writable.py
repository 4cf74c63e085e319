"""Output files are checked before long work starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spacy_padellm.errors import Errors


def make_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Check that a file can be written without a loss; creates its folder.

    path (Path): The file.
    inputs (Iterable[Path]): What the command reads.
    RAISES (ValueError): If it cannot be written, or is one of the inputs.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_input = path.is_file() and any(path.samefile(x) for x in _existing(inputs))
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error
    if path.is_dir():
        raise ValueError(Errors.P197.format(path=path, error="it is a folder"))
    if not os.access(path.parent, os.W_OK):
        problem = "its folder is read-only"
        raise ValueError(Errors.P197.format(path=path, error=problem))
    if is_input:
        raise ValueError(Errors.P830.format(path=path))


def _existing(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths of files; a text may be no path at all."""
    for path in paths:
        with suppress(OSError, ValueError):
            if path.is_file():
                yield path


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
