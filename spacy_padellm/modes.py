"""The permissions of files and folders that are copied, written or deleted."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_READ = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def open_folders(folder: Path) -> None:
    """Let the owner change a folder and those in it, and all who list them enter them.

    folder (Path): The folder. One whose mode cannot be changed keeps it.
    """
    _open(folder)
    for parent, names, _ in os.walk(folder):
        for name in names:  # a link may lead anywhere
            if not os.path.islink(os.path.join(parent, name)):
                _open(Path(parent) / name)


def allow_writing(file: Path) -> None:
    """Let the owner change a file, if its mode can be changed.

    file (Path): The file.
    """
    _add_mode(file, stat.S_IWUSR)


def spread_mode(source: Path, folder: Path) -> None:
    """Give the mode of a file to all files in a folder and in those in it.

    source (Path): The file.
    folder (Path): The folder, without links.
    """
    mode = stat.S_IMODE(source.stat().st_mode)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _open(folder: Path) -> None:
    with suppress(OSError):
        may_list = folder.stat().st_mode & _READ
        _add_mode(folder, stat.S_IRWXU | may_list >> 2)


def _add_mode(path: Path, added: int) -> None:
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode | added != mode:
            path.chmod(mode | added)
