"""The lease of an output folder: one run at a time writes to it."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.annotate.files import AnnotateError, open_fs
from spacy_padellm.annotate.output import (
    LEASE,
    UNFINISHED,
    create_file,
    exists,
    wrap_write_errors,
)
from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors

BEAT_SECONDS = 10.0
# a run on another machine that gave no sign for so long is dead
EXPIRES_SECONDS = 60.0
ATTEMPTS = 10
_MOST_PROCESSES = 1 << 31


@dataclass(frozen=True, slots=True)
class _Holder:
    """The run that holds a lease.

    host (str): Its machine, for people.
    machine (str): The same, exactly: process numbers are unique in it.
    pid (int): Its process.
    content (bytes): The file's content, which no other lease has.
    age (float): Seconds since its last sign.
    """

    host: str
    machine: str
    pid: int
    content: bytes
    age: float


@contextmanager
def hold_lease(output: str) -> Iterator[str]:
    """Hold the lease of an output folder, and give a sign of life every few seconds.

    output (str): The output folder. Created if it is missing, and removed again if
        nothing was written to it.
    YIELDS (str): The lease, for `has_lease`.
    RAISES (AnnotateError): If another run holds it, or it cannot be written.
    """
    fs, folder = open_fs(output)
    new = not exists(output)
    facts = {"host": platform.node(), "pid": os.getpid(), "id": uuid4().hex[:8]}
    content = json.dumps({**facts, "machine": _machine()}).encode()
    with wrap_write_errors(output):
        fs.makedirs(folder, exist_ok=True)
        _take(output, content)
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(output, content, ended), daemon=True)
    beats.start()
    try:
        yield content.decode()
    finally:
        ended.set()
        beats.join()
        # an object store's errors may be of any kind
        with suppress(Exception):
            if has_lease(output, content.decode()):
                fs.rm_file(f"{folder}/{LEASE}")
        for empty in (f"{folder}/{UNFINISHED}", *([folder] if new else [])):
            with suppress(Exception):
                fs.rmdir(empty)


def has_lease(output: str, lease: str) -> bool:
    """Whether a run still holds the lease of its output folder.

    output (str): The output folder.
    lease (str): What `hold_lease` gave.
    """
    fs, folder = open_fs(output)
    fs.invalidate_cache()
    try:
        return bool(fs.cat_file(f"{folder}/{LEASE}") == lease.encode())
    except FileNotFoundError:
        return False


def _take(output: str, content: bytes) -> None:
    """Take the lease, from a dead run if need be.

    RAISES (AnnotateError): If a living run holds it.
    """
    fs, folder = open_fs(output)
    path = f"{folder}/{LEASE}"
    for _ in range(ATTEMPTS):
        if create_file(output, f"{output}/{LEASE}", content):
            return
        holder = _read(fs, path)
        if holder is None:
            continue
        if not _is_dead(holder):
            break
        _remove(fs, path, holder)
    message = Errors.P425.format(
        path=output,
        pid=holder.pid if holder else "?",
        host=holder.host if holder else "?",
        age=holder.age if holder else 0,
        expires=EXPIRES_SECONDS,
    )
    raise AnnotateError(message)


def _read(fs: AbstractFileSystem, path: str) -> _Holder | None:
    """Read a lease; None if there is none any more."""
    fs.invalidate_cache()
    try:
        content, changed = fs.cat_file(path), fs.modified(path)
    except FileNotFoundError:
        return None
    try:
        facts = json.loads(content)
        host, machine, pid = facts["host"], facts["machine"], facts["pid"]
        if not (is_whole(pid) and 0 < pid < _MOST_PROCESSES):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        # half written by a machine that lost its power
        host, machine, pid = "?", "", 0
    return _Holder(host, machine, pid, content, time.time() - changed.timestamp())


def _is_dead(holder: _Holder) -> bool:
    """Whether a run has ended without giving its lease back."""
    if holder.age > EXPIRES_SECONDS:
        return True
    if holder.machine != _machine() or os.name != "posix":
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is another user's
    return False


def _remove(fs: AbstractFileSystem, path: str, holder: _Holder) -> None:
    """Remove the lease of a dead run, unless another run was faster."""
    with suppress(FileNotFoundError):
        if not isinstance(fs, LocalFileSystem):
            fs.rm_file(path)
            return
        folder, _, name = path.rpartition("/")
        aside = f"{folder}/{UNFINISHED}/{name}.{uuid4().hex}"
        os.makedirs(f"{folder}/{UNFINISHED}", exist_ok=True)
        os.rename(path, aside)
        if Path(aside).read_bytes() != holder.content:
            # that run goes on with its lease
            with suppress(FileExistsError):
                os.link(aside, path)
        os.unlink(aside)


def _beat(output: str, content: bytes, ended: threading.Event) -> None:
    """Give signs of life until the end, or until another run has the lease."""
    fs, folder = open_fs(output)
    path = f"{folder}/{LEASE}"
    while not ended.wait(BEAT_SECONDS):
        # a file system that fails for a while is no reason to stop
        with suppress(Exception):
            if not has_lease(output, content.decode()):
                return
            if isinstance(fs, LocalFileSystem):
                os.utime(path)
            else:
                fs.pipe_file(path, content)


def _machine() -> str:
    """Identify where process numbers count: a machine since its start, a container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
