"""What is known of a finished shard, so that damage to its file is noticed."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from spacy_padellm.annotate.files import open_fs
from spacy_padellm.annotate.output import (
    DONE,
    REJECTED,
    SHARDS,
    OutputFile,
    atomic_file,
    list_sizes,
    rejected_path,
    remove,
    shard_path,
)
from spacy_padellm.annotate.plan import READERS, Shard

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What is known of a finished shard.

    size (int): The size of its file, in bytes.
    crc32 (int): The checksum of its file.
    rejected (int): The size of its file of bad records; 0 if there are none.
    """

    size: int
    crc32: int
    rejected: int


class CountedFile(io.RawIOBase):
    """A file that counts what is written to it."""

    def __init__(self, file: OutputFile) -> None:
        """Count from 0.

        file (OutputFile): The file to write to.
        """
        self._file = file
        self.size = 0
        self.crc32 = 0

    def writable(self) -> bool:
        """Whether the file can be written: yes."""
        return True

    def write(self, data: Any) -> int:
        """Write bytes.

        data (Any): Bytes, or what has their buffer.
        RETURNS (int): The number of bytes.
        """
        self._file.write(data)
        size = memoryview(data).nbytes
        self.size += size
        self.crc32 = zlib.crc32(data, self.crc32)
        return size

    def tell(self) -> int:
        """The number of bytes written."""
        return self.size


def write_facts(output: str, shard: Shard, facts: ShardFacts) -> None:
    """Write what is known of a shard, before its file appears.

    output (str): The output folder.
    shard (Shard): The shard.
    facts (ShardFacts): What is known of it.
    RAISES (AnnotateError): If it cannot be written.
    """
    with atomic_file(output, _facts_path(output, shard)) as file:
        file.write(json.dumps(asdict(facts)).encode())


def find_unfinished(
    output: str, shards: Iterable[Shard], output_format: str, *, read: bool
) -> tuple[list[Shard], list[Shard]]:
    """List the shards that are missing, and those that are damaged.

    A shard of an earlier version, of which nothing is known, is not damaged.

    output (str), output_format (str): The run's.
    shards (Iterable[Shard]): The shards to look for.
    read (bool): Whether to read all files and compare their checksums, or only compare
        their sizes.
    RETURNS (tuple[list[Shard], list[Shard]]): The missing ones, and the damaged ones.
    """
    sizes = list_sizes(f"{output}/{SHARDS}")
    rejected = list_sizes(f"{output}/{REJECTED}")
    known = list_sizes(f"{output}/{DONE}")

    def is_whole(shard: Shard) -> bool | None:
        path = shard_path(output, shard, output_format)
        if _name(path) not in sizes:
            return None
        if _name(_facts_path(output, shard)) not in known:
            return True
        facts = _read_facts(output, shard)
        return facts is not None and (
            sizes[_name(path)] == facts.size
            and rejected.get(_name(rejected_path(output, shard)), 0) == facts.rejected
            and (not read or _checksum(path) == facts.crc32)
        )

    shards = list(shards)
    with ThreadPoolExecutor(READERS) as pool:
        whole = list(zip(shards, pool.map(is_whole, shards), strict=True))
    missing = [shard for shard, state in whole if state is None]
    return missing, [shard for shard, state in whole if state is False]


def remove_shard(output: str, shard: Shard, output_format: str) -> None:
    """Remove the file of a damaged shard, so that it is annotated again.

    output (str): The output folder.
    shard (Shard): The shard.
    output_format (str): The run's format.
    """
    remove(shard_path(output, shard, output_format))
    remove(_facts_path(output, shard))


def _facts_path(output: str, shard: Shard) -> str:
    return f"{output}/{DONE}/part-{shard.index:06d}.json"


def _read_facts(output: str, shard: Shard) -> ShardFacts | None:
    """Read what is known of a shard; None if the file is damaged."""
    fs, inside = open_fs(_facts_path(output, shard))
    try:
        return ShardFacts(**json.loads(fs.cat_file(inside)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _checksum(path: str) -> int:
    fs, inside = open_fs(path)
    total = 0
    with fs.open(inside, "rb") as file:
        while block := file.read(BLOCK):
            total = zlib.crc32(block, total)
    return total


def _name(path: str) -> str:
    return path.rpartition("/")[2]
