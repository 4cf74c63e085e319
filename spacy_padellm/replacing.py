"""Folders are replaced whole, also if the process is killed."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.modes import open_folders

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = ".saving-"  # begins the names of folders that are being written
_SURELY_ABANDONED = 86_400  # seconds
_JOURNAL = "replacing.json"  # in such a folder: its parts when they take their places
# the names of what was moved aside, as a pattern of files
_ASIDE = ".{name}.old-" + "[0-9a-f]" * 8
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST}  # the errors of a name that is in use
# of Linux' renameat2
_AT_CWD, _EXCHANGE = -100, 2


@contextmanager
def replaced_folder(path: Path, names: Collection[str]) -> Iterator[Path]:
    """Write a folder that takes its place only when it is complete.

    Until then, and after an error or Ctrl-C, there is the old folder; or the new one,
    if some of its parts had their places already and the system cannot exchange them.
    What a killed process left behind is deleted by the next one; see `recover_folder`.
    Of several processes that write at the same time, the last one counts.

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
    target = path / ".saving" if others else path.with_name(_UNFINISHED + path.name)
    with _unfinished_folder(target) as new:
        yield new
        if others:
            _put_parts(new, path, names)
        else:
            with suppress(FileNotFoundError):
                shutil.copymode(path, new)
            _put(new, path)


def recover_folder(path: Path, names: Collection[str]) -> None:
    """Make a folder whole again if a process was killed while it replaced it.

    path (Path): The folder, without links.
    names (Collection[str]): The files and folders that are written to it.
    RAISES (ValueError): If it has parts of two versions, and cannot be mended.
    """
    _put_back(path)
    for unfinished in path.glob(f"{_UNFINISHED}*"):
        _finish(unfinished, path, names)
    for name in names:
        _put_back(path / name)


def _put_back(target: Path) -> None:
    """Put back a file or folder that was moved aside, if nothing took its place."""
    if not target.exists():
        old = list(target.parent.glob(_ASIDE.format(name=escape(target.name))))
        with suppress(OSError):
            for newest in sorted(old, key=lambda path: path.stat().st_mtime)[-1:]:
                newest.rename(target)


def _put_parts(new: Path, path: Path, names: Collection[str]) -> None:
    """Move new parts to their places, one by one: all of them, or none.

    If neither is possible, the journal stays, for `recover_folder`.
    """
    # a renamed file keeps its number
    numbers = {name: (new / name).stat().st_ino for name in names}
    old = {name for name in names if (path / name).exists()}
    try:
        (new / "journal").write_text(json.dumps(numbers), "utf8")
        (new / "journal").rename(new / _JOURNAL)  # complete, or not there
        _put_rest(new, path, numbers)
    except BaseException:
        with suppress(OSError):
            if _take_back(new, path, numbers, old):
                (new / _JOURNAL).unlink(missing_ok=True)
            else:
                _put_rest(new, path, numbers)
        raise


def _take_back(
    new: Path, path: Path, numbers: Mapping[str, int], old: Collection[str]
) -> bool:
    """Put the old parts back in their places; False if one of them is gone."""
    for name in old:
        _put_back(path / name)
    put = [name for name in numbers if _has_number(path / name, numbers[name])]
    if not all((new / name).exists() for name in put if name in old):
        return False
    return all(
        _exchange(path / name, new / name)
        if name in old
        else _move(path / name, new / name)
        for name in put
    )


def _put_rest(new: Path, path: Path, numbers: Mapping[str, int]) -> None:
    """Move those new parts to their places that are not there; delete the journal."""
    for name, number in numbers.items():
        if _has_number(new / name, number):
            _put(new / name, path / name)
    (new / _JOURNAL).unlink()


def _has_number(path: Path, number: Any) -> bool:
    return path.exists() and path.stat().st_ino == number


def _finish(unfinished: Path, path: Path, names: Collection[str]) -> None:
    """Put the new parts in their places that a killed process left.

    RAISES (ValueError): If that is impossible, or it may still be at work.
    """
    try:
        lock = _lock(unfinished)
    except OSError:
        return  # it is at work
    journal = unfinished / _JOURNAL
    try:
        # a stranger's folder may hold any file of this name
        if not journal.is_file() or unfinished.is_symlink():
            return
        if lock is None and not _is_old(unfinished):
            raise ValueError(Errors.P741.format(path=path))
        numbers = json.loads(journal.read_text("utf8"))
        # a stranger's journal may name other files
        _put_rest(unfinished, path, {name: numbers.get(name) for name in names})
        open_folders(unfinished)
        shutil.rmtree(unfinished)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(Errors.P741.format(path=path)) from error
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def _unfinished_folder(target: Path) -> Iterator[Path]:
    """Make an empty folder next to a path, named after it; delete it at the end.

    One with a journal stays: its parts are needed to make another folder whole.
    """
    for old in target.parent.glob(f"{escape(target.name)}-*"):
        _delete_abandoned(old)
    new, lock = _make_locked(target)
    try:
        yield new
    finally:
        if not (new / _JOURNAL).exists():
            _delete(new)
        if lock is not None:
            os.close(lock)


def _make_locked(target: Path) -> tuple[Path, int | None]:
    while True:
        new = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
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
        old = _is_old(folder)
    except OSError:
        return
    if lock is not None or old:
        _delete(folder)
    if lock is not None:
        os.close(lock)


def _is_old(folder: Path) -> bool:
    """Whether no process can be writing a folder any more."""
    return time.time() - folder.stat().st_mtime > _SURELY_ABANDONED


def _put(new: Path, target: Path) -> None:
    """Move a file or folder to its place. What was there is where it was, or gone."""
    if not (_move(new, target) or _exchange(new, target)):
        _put_in_two_steps(new, target)
    # also of processes that were killed between the two steps
    for old in target.parent.glob(_ASIDE.format(name=escape(target.name))):
        _delete(old)


def _move(new: Path, target: Path) -> bool:
    """Move a file or folder to a place where there is none; False if there is one."""
    if not target.exists():
        try:
            new.rename(target)
            return True
        except OSError as error:
            # another process may just have put its own there, and taken it again
            if error.errno not in _TAKEN and not target.exists():
                raise
    return False


def _put_in_two_steps(new: Path, target: Path) -> None:
    """Move a file or folder to a place where there is one, and delete the old one."""
    aside = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
    while True:
        # other processes may do the same: until here, and between these two lines
        with suppress(FileNotFoundError):
            target.rename(aside)
        try:
            new.rename(target)
            return
        except OSError as error:
            if error.errno not in _TAKEN and not target.exists():
                with suppress(FileNotFoundError):
                    aside.rename(target)
                raise
        _delete(aside)


def _delete(path: Path) -> None:
    """Delete a file or folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        open_folders(path)  # a copied model may have read-only ones
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
