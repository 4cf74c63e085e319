"""Output files are checked before long work starts; folders are replaced whole."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from glob import escape
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


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = ".saving-"  # begins the names of folders that are being written
_SURELY_ABANDONED = 86_400  # seconds
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST}  # the errors of a name that is in use
# of Linux' renameat2
_AT_CWD, _EXCHANGE = -100, 2


@contextmanager
def replaced_folder(path: Path, names: Collection[str]) -> Iterator[Path]:
    """Write a folder that takes its place only when it is complete.

    Until then, and after an error, there is the old folder. What a killed process left
    behind is deleted by the next one. Of several processes that write at the same time,
    the last one counts.

    path (Path): The folder, without links. Created if it is missing.
    names (Collection[str]): The files and folders that are written. If there are others
        in the folder, they stay, and these are replaced one by one.
    YIELDS (Path): The folder to write to.
    RAISES (OSError): If the folder cannot be written.
    """
    found: list[str] = []
    # another process may just be putting its folder there
    with suppress(FileNotFoundError):
        found = os.listdir(path)
    others = {name for name in found if not name.startswith(_UNFINISHED)} - {*names}
    place = path / ".saving" if others else path.with_name(_UNFINISHED + path.name)
    with _unfinished_folder(place) as new:
        yield new
        if others:
            for name in names:
                _put(new / name, path / name)
        else:
            with suppress(FileNotFoundError):
                shutil.copymode(path, new)
            _put(new, path)


@contextmanager
def _unfinished_folder(place: Path) -> Iterator[Path]:
    """Make an empty folder next to a place, named after it; delete it at the end."""
    for old in place.parent.glob(f"{escape(place.name)}-*"):
        _delete_abandoned(old)
    new, lock = _make_locked(place)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make_locked(place: Path) -> tuple[Path, int | None]:
    while True:
        new = place.with_name(f"{place.name}-{secrets.token_hex(4)}")
        new.mkdir(parents=True)
        try:
            lock = _lock(new)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process thought that it was abandoned
        if new.exists():
            return new, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; None where that is impossible.

    RETURNS (int | None): What to close to unlock it.
    RAISES (BlockingIOError): If another process has locked it.
    RAISES (FileNotFoundError): If there is no such folder.
    """
    if fcntl is None:
        return None
    # to open a pipe of such a name would wait for ever
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None  # a file system without locks
    return descriptor


def _delete_abandoned(folder: Path) -> None:
    """Delete a folder if the process that wrote it was killed."""
    try:
        lock = _lock(folder)
        age = time.time() - folder.stat().st_mtime
    except OSError:
        return
    if lock is not None or age > _SURELY_ABANDONED:
        shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def _put(new: Path, place: Path) -> None:
    """Move a file or folder to its place; what was there is where it was."""
    if not place.exists():
        try:
            new.rename(place)
            return
        except OSError as error:
            # another process may just have put its own there, and taken it again
            if error.errno not in _TAKEN and not place.exists():
                raise
    if not _exchange(new, place):
        _put_in_two_steps(new, place)


def _put_in_two_steps(new: Path, place: Path) -> None:
    """Move a file or folder to a place where there is one, and delete the old one."""
    aside = place.with_name(f".{place.name}.old-{secrets.token_hex(4)}")
    while True:
        # other processes may do the same: until here, and between these two lines
        with suppress(FileNotFoundError):
            place.rename(aside)
        try:
            new.rename(place)
            break
        except OSError as error:
            if error.errno not in _TAKEN and not place.exists():
                with suppress(FileNotFoundError):
                    aside.rename(place)
                raise
        _delete(aside)
    # also of processes that were killed between the two lines
    for old in place.parent.glob(f".{escape(place.name)}.old-*"):
        _delete(old)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places at once; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):
        return False
    paths = _AT_CWD, os.fsencode(first), _AT_CWD, os.fsencode(second)
    return bool(rename(*paths, _EXCHANGE) == 0)
