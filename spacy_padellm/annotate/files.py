"""Input files: globs and folders, on any file system that fsspec knows."""

from __future__ import annotations

import io
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.core import OpenFile, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.errors import Errors

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".txt": "text",
    ".spacy": "spacy",
}
# no .zip: fsspec reads only the first file of an archive
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
LINES = ("jsonl", "text")
KNOWN = ", ".join([*FORMATS, *(f".jsonl{c}, .txt{c}" for c in COMPRESSIONS)])
UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    pa.ArrowException,
    ValueError,
)


class AnnotateError(ValueError):
    """A run cannot start or go on; the message says what to do."""


class ShardError(AnnotateError):
    """One shard cannot be annotated; the others can."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to annotate.

    path (str): Absolute, a URL if it is not local.
    format (str): "parquet", "jsonl", "text" or "spacy".
    size (int): Bytes.
    modified (str): When it was written, as far as the file system tells.
    """

    path: str
    format: str
    size: int
    modified: str


def open_fs(path: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and the absolute path in it.

    RAISES (AnnotateError): If there is no such file system.
    """
    try:
        fs, inside = url_to_fs(path)
    except (ValueError, ImportError, OSError) as error:
        raise AnnotateError(Errors.P401.format(path=path, error=error)) from error
    return fs, inside


def full_path(path: str) -> str:
    """The same for another process: absolute, with its protocol if not local."""
    fs, inside = open_fs(path)
    local = isinstance(fs, LocalFileSystem)
    return inside if local else str(fs.unstrip_protocol(inside))


def _real(path: str) -> str:
    """A local path without links and "..", which name one file in many ways."""
    fs, inside = open_fs(path)
    return os.path.realpath(inside) if isinstance(fs, LocalFileSystem) else path


def format_of(path: str) -> str | None:
    """The format that a file's name tells, or None."""
    name = path.rpartition("/")[2].lower()
    compressed = name.endswith(COMPRESSIONS)
    plain = name.rpartition(".")[0] if compressed else name
    found = next((f for suffix, f in FORMATS.items() if plain.endswith(suffix)), None)
    return None if compressed and found not in LINES else found


def find_inputs(inputs: Sequence[str], *, output: str) -> list[InputFile]:
    """List the files of paths, globs and folders.

    inputs (Sequence[str]): In the order in which they are annotated; the files of a
        folder or glob are sorted by path. Folders are searched through, but for names
        that begin with "." or "_".
    output (str): The run's output folder, whose files are no input.
    RETURNS (list[InputFile]): Each file once.
    RAISES (AnnotateError): If there is none, or one of an unknown format.
    """
    found: dict[str, InputFile] = {}  # by where they really are
    inside_output = _real(full_path(output)).rstrip("/") + "/"
    for argument in inputs:
        fs, path = open_fs(argument)
        try:
            files = _list_files(fs, path, argument)
        except OSError as error:
            message = Errors.P403.format(path=argument, error=error)
            raise AnnotateError(message) from error
        local = isinstance(fs, LocalFileSystem)
        before = len(found)
        for name, facts in sorted(files.items()):
            full = name if local else str(fs.unstrip_protocol(name))
            real = _real(full)
            if not real.startswith(inside_output) and real not in found:
                found[real] = _input_file(full, facts)
        if not files or (len(found) == before == 0):
            raise AnnotateError(Errors.P402.format(path=argument, known=KNOWN))
    return list(found.values())


def _list_files(
    fs: AbstractFileSystem, path: str, argument: str
) -> dict[str, dict[str, Any]]:
    """Path -> facts of the files that one argument names."""
    if fs.isfile(path):
        return {path: fs.info(path)}
    if not fs.isdir(path):
        matches = fs.glob(path, detail=True)
        return {n: facts for n, facts in matches.items() if facts["type"] == "file"}
    files = {}
    for name, facts in fs.find(path, detail=True).items():
        parts = name.removeprefix(path).strip("/").split("/")
        hidden = any(part.startswith((".", "_")) for part in parts)
        if not hidden and format_of(name):
            files[name] = facts
    formats = sorted({str(format_of(name)) for name in files})
    if len(formats) > 1:
        # a README.txt beside Parquet files is hardly meant
        message = Errors.P404.format(path=argument, formats=", ".join(formats))
        raise AnnotateError(message)
    return files


def _input_file(path: str, facts: dict[str, Any]) -> InputFile:
    data_format = format_of(path)
    if data_format is None:
        raise AnnotateError(Errors.P402.format(path=path, known=KNOWN))
    # each file system has its own name for the time
    keys = ("mtime", "LastModified", "last_modified", "updated", "created")
    modified = next((str(facts[key]) for key in keys if facts.get(key)), "")
    return InputFile(path, data_format, int(facts["size"]), modified)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Tell what goes wrong inside as a fault of the file.

    RAISES (ShardError): Instead of what is raised by reading a broken file.
    """
    try:
        yield
    except AnnotateError:
        raise
    except UNREADABLE as error:
        raise ShardError(Errors.P403.format(path=path, error=error)) from error


@contextmanager
def open_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed by its suffix; local or not."""
    fs, inside = open_fs(path)
    # Arrow reads .zst everywhere, fsspec only where the package zstandard is installed
    zstd = inside.lower().endswith(".zst")
    with OpenFile(fs, inside, compression=None if zstd else "infer") as file:
        if zstd:
            stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
            yield io.BufferedReader(stream)
        else:
            yield file
