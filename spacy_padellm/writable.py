"""Output files are checked before long work starts; folders are replaced whole."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from spacy_padellm.errors import Errors


def make_writable(path: Path) -> None:
    """Check that a file can be written; creates its folder.

    RAISES (ValueError): If it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error
    if path.is_dir():
        raise ValueError(Errors.P197.format(path=path, error="it is a folder"))
    if not os.access(path.parent, os.W_OK):
        problem = "its folder is read-only"
        raise ValueError(Errors.P197.format(path=path, error=problem))


_UNFINISHED = ".saving"
# of Linux' renameat2
_AT_CWD, _EXCHANGE = -100, 2


@contextmanager
def replaced_folder(path: Path, names: Collection[str]) -> Iterator[Path]:
    """Write a folder that takes its place only when it is complete.

    Until then, and after an error, there is the old folder. What a killed process left
    behind is deleted by the next one.

    path (Path): The folder, without links. Created if it is missing.
    names (Collection[str]): The files and folders that are written. If there are others
        in the folder, they stay, and these are replaced one by one.
    YIELDS (Path): The folder to write to.
    RAISES (OSError): If the folder cannot be written.
    """
    others = set(os.listdir(path)) - {*names, _UNFINISHED} if path.exists() else set()
    new = path / _UNFINISHED if others else path.with_name(f".{path.name}{_UNFINISHED}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if others:
            for name in names:
                _put(new / name, path / name)
        else:
            if path.exists():
                shutil.copymode(path, new)
            _put(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, place: Path) -> None:
    """Move a file or folder to its place; what was there is where it was."""
    if not place.exists():
        new.rename(place)
    elif not _exchange(new, place):
        aside = place.with_name(f".{place.name}.old")
        place.rename(aside)
        new.rename(place)
        aside.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places at once; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):
        return False
    paths = _AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other)
    return bool(rename(*paths, _EXCHANGE) == 0)
