"""The output folder: shards that appear only when they are whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any
from uuid import uuid4

from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.annotate.files import AnnotateError, open_fs
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import BadRecord
from spacy_padellm.errors import Errors

SHARDS, REJECTED, UNFINISHED = "shards", "rejected", "unfinished"
MANIFEST, ALL_REJECTED = "manifest.json", "rejected.jsonl"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def shard_path(output: str, shard: Shard, output_format: str) -> str:
    """Where a shard's annotated texts go."""
    return f"{output}/{SHARDS}/part-{shard.index:06d}.{output_format}"


def rejected_path(output: str, shard: Shard) -> str:
    """Where its bad records go, if it has any."""
    return f"{output}/{REJECTED}/part-{shard.index:06d}.jsonl"


def exists(path: str) -> bool:
    """Whether a file is there now."""
    fs, inside = open_fs(path)
    fs.invalidate_cache()
    return bool(fs.exists(inside))


def list_names(folder: str) -> set[str]:
    """The names in a folder; none if there is no folder."""
    fs, inside = open_fs(folder)
    fs.invalidate_cache()
    if not fs.isdir(inside):
        return set()
    return {str(name).rpartition("/")[2] for name in fs.ls(inside, detail=False)}


def unfinished_shards(
    output: str, shards: Iterable[Shard], output_format: str
) -> list[Shard]:
    """The shards that have no file yet."""
    done = list_names(f"{output}/{SHARDS}")
    return [
        shard
        for shard in shards
        if shard_path(output, shard, output_format).rpartition("/")[2] not in done
    ]


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Tell what goes wrong with the file system as an error of the run.

    RAISES (AnnotateError): Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        code = Errors.P414 if error.errno in NO_SPACE else Errors.P415
        raise AnnotateError(code.format(path=path, error=error)) from error


@contextmanager
def whole_file(output: str, path: str) -> Iterator[IO[bytes]]:
    """A file that gets its name when all of it is on the disk, or never.

    output (str): The output folder, in which it is written under another name.
    path (str): Its name.
    YIELDS (IO[bytes]): The open file.
    RAISES (AnnotateError): If it cannot be written.
    """
    fs, inside = open_fs(path)
    # a name of its own: another attempt at the same file may still be alive
    name = f"{inside.rpartition('/')[2]}.{uuid4().hex}"
    temporary = f"{open_fs(output)[1]}/{UNFINISHED}/{name}"
    local = isinstance(fs, LocalFileSystem)
    with writing(path):
        for file_path in (temporary, inside):
            fs.makedirs(file_path.rpartition("/")[0], exist_ok=True)
        try:
            with fs.open(temporary, "wb") as file:
                yield file
                file.flush()
                if local:
                    os.fsync(file.fileno())
            if local:
                os.replace(temporary, inside)
                _sync_folder(inside.rpartition("/")[0])
            else:
                fs.mv(temporary, inside)
        except BaseException:
            with suppress(OSError):
                fs.rm_file(temporary)
            raise


def _sync_folder(path: str) -> None:
    """Make a new name in a folder outlive a power cut, where folders can be synced."""
    if os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: str) -> None:
    """Delete a file or folder that may not be there."""
    fs, inside = open_fs(path)
    with writing(path), suppress(FileNotFoundError):
        fs.rm(inside, recursive=True)


def write_rejected(output: str, shard: Shard, bad: Sequence[BadRecord]) -> None:
    """Write a shard's bad records, in the order of their rows."""
    path = rejected_path(output, shard)
    if not bad:
        # an earlier attempt may have had some, and have been killed
        remove(path)
        return
    with whole_file(output, path) as file:
        for record in sorted(bad, key=lambda record: record.row):
            facts = {
                "file": shard.path,
                "row": record.row + 1,
                "reason": record.reason,
                "content": record.content,
            }
            file.write(json_line(facts))


def json_line(value: Any) -> bytes:
    """A value as a line of JSON; what JSON has no form for becomes a string."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    # a lone surrogate is no UTF-8, but as an escape it is JSON
    return text.encode("utf8", "backslashreplace") + b"\n"


def join_rejected(output: str, shards: Iterable[Shard]) -> int:
    """Gather the bad records of the finished shards in one file.

    output (str): The output folder.
    shards (Iterable[Shard]): The finished shards, in order.
    RETURNS (int): How many records there are; if none, there is no file.
    """
    names = list_names(f"{output}/{REJECTED}")
    paths = [rejected_path(output, shard) for shard in shards]
    paths = [path for path in paths if path.rpartition("/")[2] in names]
    if not paths:
        remove(f"{output}/{ALL_REJECTED}")
        return 0
    count = 0
    with whole_file(output, f"{output}/{ALL_REJECTED}") as target:
        for path in paths:
            fs, inside = open_fs(path)
            with fs.open(inside, "rb") as source:
                for line in source:
                    target.write(line)
                    count += 1
    return count
