"""The output folder; a file appears in it only when it is complete."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any
from uuid import uuid4

from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.annotate.files import (
    AnnotateError,
    is_glob,
    is_remote,
    open_fs,
)
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import BadRecord
from spacy_padellm.errors import Errors

SHARDS, REJECTED, UNFINISHED, DONE = "shards", "rejected", "unfinished", "done"
ATTEMPTS_FOLDER = "attempts"  # on Ray
MANIFEST, LEASE, ALL_REJECTED = "manifest.json", "lease.json", "rejected.jsonl"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_name(output: str) -> None:
    """Check that the name of an output folder means that folder alone.

    output (str): The output folder.
    RAISES (AnnotateError): If a remote file system would take it for a pattern, and so
        delete files of other folders.
    """
    if is_glob(output) and is_remote(output):
        raise AnnotateError(Errors.P1040.format(output=output))


def shard_path(output: str, shard: Shard, output_format: str) -> str:
    """The path of a shard's annotated texts."""
    return f"{output}/{SHARDS}/part-{shard.index:06d}.{output_format}"


def rejected_path(output: str, shard: Shard) -> str:
    """The path of a shard's bad records."""
    return f"{output}/{REJECTED}/part-{shard.index:06d}.jsonl"


@contextmanager
def wrap_write_errors(path: str) -> Iterator[None]:
    """Report file system errors in the `with` block as errors of the run.

    path (str): What is written in the block.
    RAISES (AnnotateError): Instead of an OSError, or any error of an object store.
    """
    try:
        yield
    except AnnotateError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and not is_remote(path):
            raise
        full = isinstance(error, OSError) and error.errno in NO_SPACE
        code = Errors.P414 if full else Errors.P415
        raise AnnotateError(code.format(path=path, error=error)) from error


def exists(path: str) -> bool:
    """Whether a file exists, without using the file system's cache.

    RAISES (AnnotateError): If the file system does not say.
    """
    fs, inside = open_fs(path)
    with wrap_write_errors(path):
        fs.invalidate_cache()
        return bool(fs.exists(inside))


def list_names(folder: str) -> set[str]:
    """List the names in a folder; empty if there is no folder.

    RAISES (AnnotateError): If it cannot be listed.
    """
    return {name for name, _ in _list(folder)}


def list_sizes(folder: str) -> dict[str, int]:
    """List the names in a folder, with the files' sizes; empty without a folder.

    RAISES (AnnotateError): If it cannot be listed.
    """
    return {name: int(info["size"] or 0) for name, info in _list(folder)}


def _list(folder: str) -> list[tuple[str, dict[str, Any]]]:
    """List a folder: names, and what the file system says of them."""
    fs, inside = open_fs(folder)
    with wrap_write_errors(folder):
        fs.invalidate_cache()
        found = fs.ls(inside, detail=True) if fs.isdir(inside) else []
    return [(str(info["name"]).rpartition("/")[2], info) for info in found]


class OutputFile:
    """A file to write, whose errors are errors of the run."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        """Wrap an open file.

        file (IO[bytes]): The file.
        path (str): Its path, for messages.
        """
        self._file = file
        self._path = path

    def write(self, data: Any) -> int:
        """Write bytes.

        data (Any): Bytes, or what has their buffer.
        RETURNS (int): The number of bytes.
        RAISES (AnnotateError): If they cannot be written.
        """
        with wrap_write_errors(self._path):
            return self._file.write(data)


@contextmanager
def atomic_file(output: str, path: str) -> Iterator[OutputFile]:
    """Write a file that appears under its name only when it is complete on disk.

    output (str): The output folder, where the file has a temporary name until then.
    path (str): The path of the file.
    YIELDS (OutputFile): The open temporary file.
    RAISES (AnnotateError): If the file cannot be written.
    """
    fs, inside = open_fs(path)
    # unique, because another process may still be writing the same file
    name = f"{inside.rpartition('/')[2]}.{uuid4().hex}"
    temporary = f"{open_fs(output)[1]}/{UNFINISHED}/{name}"
    local = isinstance(fs, LocalFileSystem)
    with wrap_write_errors(path):
        for file_path in (temporary, inside):
            fs.makedirs(file_path.rpartition("/")[0], exist_ok=True)
        file = fs.open(temporary, "wb")
    try:
        yield OutputFile(file, path)
        with wrap_write_errors(path):
            file.flush()
            if local:
                os.fsync(file.fileno())
            file.close()
            if local:
                os.replace(temporary, inside)
                _sync_folder(inside.rpartition("/")[0])
            else:
                fs.mv(temporary, inside)
    except BaseException:
        with suppress(Exception):
            file.close()
        with suppress(Exception):
            fs.rm_file(temporary)
        raise


def create_file(output: str, path: str, content: bytes) -> bool:
    """Write a file, which appears when it is complete, unless one of that name exists.

    output (str): The output folder.
    path (str): The path of the file.
    content (bytes): What to write.
    RETURNS (bool): Whether the file was written. Two processes never both write a local
        file; on other file systems the later one may replace the file of the earlier.
    RAISES (AnnotateError): If the file cannot be written.
    """
    fs, inside = open_fs(path)
    if exists(path):
        return False
    if not isinstance(fs, LocalFileSystem):
        with atomic_file(output, path) as file:
            file.write(content)
        return True
    folder, _, name = inside.rpartition("/")
    unfinished = f"{open_fs(output)[1]}/{UNFINISHED}"
    aside = f"{unfinished}/{name}.{uuid4().hex}"
    with wrap_write_errors(path):
        os.makedirs(unfinished, exist_ok=True)
        try:
            with open(aside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            return _link(aside, inside)
        finally:
            with suppress(OSError):
                os.unlink(aside)
            _sync_folder(folder)


def _link(aside: str, path: str) -> bool:
    """Give a file a second name; False if another file has it."""
    try:
        os.link(aside, path)
    except OSError:
        if os.path.exists(path):
            return False
        # not all file systems have links
        os.replace(aside, path)
    return True


def _sync_folder(path: str) -> None:
    """Sync a folder, so that new names in it survive a power failure."""
    if os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: str) -> None:
    """Delete a file or folder if it exists."""
    fs, inside = open_fs(path)
    with wrap_write_errors(path), suppress(FileNotFoundError):
        fs.rm(inside, recursive=True)


def write_rejected(output: str, shard: Shard, bad: Sequence[BadRecord]) -> int:
    """Write a shard's bad records, in the order of their rows.

    output (str): The output folder.
    shard (Shard): The shard.
    bad (Sequence[BadRecord]): Its bad records.
    RETURNS (int): The size of the file in bytes; 0 if there is none.
    RAISES (AnnotateError): If it cannot be written.
    """
    path = rejected_path(output, shard)
    if not bad:
        # an earlier attempt that was killed may have left some
        remove(path)
        return 0
    size = 0
    with atomic_file(output, path) as file:
        for record in sorted(bad, key=lambda record: record.row):
            facts = {
                "file": shard.path,
                "row": record.row + 1,
                "reason": record.reason,
                "content": record.content,
            }
            size += file.write(json_line(facts))
    return size


def json_line(value: Any) -> bytes:
    """Convert a value to a line of JSON; unsupported types become strings."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    # UTF-8 cannot encode a lone surrogate, but JSON can escape it
    return text.encode("utf8", "backslashreplace") + b"\n"


def join_rejected(output: str, shards: Iterable[Shard]) -> int:
    """Join the bad records of the finished shards in one file.

    output (str): The output folder.
    shards (Iterable[Shard]): The finished shards, in order.
    RETURNS (int): The number of bad records; if it is 0, there is no file.
    """
    names = list_names(f"{output}/{REJECTED}")
    paths = [rejected_path(output, shard) for shard in shards]
    paths = [path for path in paths if path.rpartition("/")[2] in names]
    if not paths:
        remove(f"{output}/{ALL_REJECTED}")
        return 0
    count = 0
    with atomic_file(output, f"{output}/{ALL_REJECTED}") as target:
        for path in paths:
            fs, inside = open_fs(path)
            with wrap_write_errors(path), fs.open(inside, "rb") as source:
                for line in source:
                    target.write(line)
                    count += 1
    return count
