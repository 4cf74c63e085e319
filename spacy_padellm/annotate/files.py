"""Input files, globs and folders, on any file system that fsspec supports."""

from __future__ import annotations

import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
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
KNOWN_SUFFIXES = ", ".join([*FORMATS, *(f".jsonl{c}, .txt{c}" for c in COMPRESSIONS)])
# a protocol, or a chain of them; all else is a local name, also "file:x" and "a::b"
URL = re.compile(r"([a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+://")
# the keys of a file's modification time, which depend on the file system
_MODIFIED = (
    *("mtime", "LastModified", "last_modified", "updated", "created"),
    *("Last-Modified", "ETag"),
)
UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    pa.ArrowException,
    ValueError,
)


class AnnotateError(ValueError):
    """A run cannot start or continue; the message says what to do."""


class ShardError(AnnotateError):
    """One shard cannot be annotated; the others can."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to annotate.

    path (str): The absolute path, or the URL of a remote file.
    format (str): "parquet", "jsonl", "text" or "spacy".
    size (int): The size in bytes.
    modified (str): The modification time, or a web server's tag of the content; empty
        if the file system has neither.
    """

    path: str
    format: str
    size: int
    modified: str


class LinkedFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of this machine, also those in folders that are links."""

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        *,
        on_error: Callable[[OSError], object] = lambda error: None,
        **options: Any,
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """List folders as fsspec does, which passes over links to folders.

        path (str): The folder.
        maxdepth (int | None): How many levels of folders to list.
        on_error (Callable[[OSError], object]): Called for a folder that cannot be read.
        options (Any): Not used.
        YIELDS (tuple[str, dict, dict]): A folder, and what is known of the folders and
            the other files in it, by their names.
        """
        yield from self._walk(path.rstrip("/") or "/", maxdepth, on_error, frozenset())

    def _walk(
        self,
        path: str,
        levels: int | None,
        on_error: Callable[[OSError], object],
        above: frozenset[str],
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        real = os.path.realpath(path)
        # a link to a folder above leads around in a circle
        if real in above or levels == 0:
            return
        try:
            listed = self.ls(path, detail=True)
        except OSError as error:
            on_error(error)
            return
        found = {info["name"].rpartition("/")[2]: info for info in listed}
        folders = {n: info for n, info in found.items() if os.path.isdir(info["name"])}
        yield path, folders, {n: i for n, i in found.items() if n not in folders}
        fewer = None if levels is None else levels - 1
        for info in folders.values():
            yield from self._walk(info["name"], fewer, on_error, above | {real})


def open_fs(path: str) -> tuple[AbstractFileSystem, str]:
    """Find the file system of a path or URL, and the absolute path in it.

    path (str): The path or URL.
    RAISES (AnnotateError): If the file system is unknown or not installed.
    """
    if not URL.match(path):
        full = os.path.join(os.getcwd(), os.path.expanduser(path))
        return LinkedFiles(), full.replace(os.sep, "/").rstrip("/") or "/"
    try:
        fs, inside = url_to_fs(path)
    except Exception as error:  # clients of object stores may raise anything
        raise AnnotateError(Errors.P401.format(path=path, error=error)) from error
    return fs, inside


def is_remote(path: str) -> bool:
    """Whether a path is in an object store, whose errors may be of any kind."""
    return not isinstance(open_fs(path)[0], LocalFileSystem)


def absolute_path(path: str) -> str:
    """Make a path absolute, with the protocol of its file system if it is remote."""
    return _full_name(*open_fs(path))


def _resolve_links(path: str) -> str:
    """Resolve the symbolic links and ".." of a local path."""
    fs, inside = open_fs(path)
    return os.path.realpath(inside) if isinstance(fs, LocalFileSystem) else path


def is_inside(path: str, folder: Path) -> bool:
    """Whether a path is in a folder of this machine, without links on the way."""
    return not URL.match(path) and Path(_resolve_links(path)).is_relative_to(
        folder.resolve()
    )


def format_of(path: str) -> str | None:
    """Find the format of a file by the suffix of its name; None if it is unknown."""
    name = path.rpartition("/")[2].lower()
    compressed = name.endswith(COMPRESSIONS)
    plain = name.rpartition(".")[0] if compressed else name
    found = next((f for suffix, f in FORMATS.items() if plain.endswith(suffix)), None)
    return None if compressed and found not in LINES else found


def find_inputs(inputs: Sequence[str], *, output: str) -> list[InputFile]:
    """List the files of paths, globs and folders.

    inputs (Sequence[str]): Paths, globs and folders, in the order of annotation. The
        files of a folder or glob are sorted by path. Folders are searched recursively;
        names that begin with "." or "_" are skipped.
    output (str): The output folder; files in it are not used as input.
    RETURNS (list[InputFile]): The files, without duplicates.
    RAISES (AnnotateError): If there is no file, or a file of an unknown format.
    """
    found: dict[str, InputFile] = {}  # by path without links
    folder = _resolve_links(absolute_path(output)).rstrip("/") + "/"
    for argument in inputs:
        fs, path = open_fs(argument)
        with wrap_read_errors(argument):
            files = _list_files(fs, path)
            is_there = bool(files) or fs.exists(path)
        others: dict[str, tuple[str, dict[str, Any]]] = {}
        for name, info in sorted(files.items()):
            full = _full_name(fs, name)
            if not (real := _resolve_links(full)).startswith(folder):
                others.setdefault(real, (full, info))
        _check_one_format(fs, path, argument, [full for full, _ in others.values()])
        for real, (full, info) in others.items():
            found[real] = found.get(real) or _input_file(full, info)
        # the shell may write out a glob, with the output folder of an earlier run
        is_output = f"{_resolve_links(_full_name(fs, path))}/".startswith(folder)
        if not files and not (is_output and is_there):
            template = Errors.P402 if is_there or is_glob(argument) else Errors.P201
            message = template.format(path=argument, known=KNOWN_SUFFIXES)
            raise AnnotateError(message)
    if not found:
        raise AnnotateError(Errors.P970.format(output=output))
    return list(found.values())


def is_glob(path: str) -> bool:
    """Whether a path has a sign of a pattern of files."""
    return any(sign in path for sign in "*?[")


def _full_name(fs: AbstractFileSystem, path: str) -> str:
    """The path of a file, with the protocol of its file system if it is remote."""
    local = isinstance(fs, LocalFileSystem)
    return path if local else str(fs.unstrip_protocol(path))


def _check_one_format(
    fs: AbstractFileSystem, path: str, argument: str, names: Sequence[str]
) -> None:
    """Check that the files of a folder are of one format."""
    formats = sorted({str(format_of(name)) for name in names})
    # probably a mistake, such as a README.txt next to Parquet files
    if len(formats) > 1 and fs.isdir(path):
        message = Errors.P404.format(path=argument, formats=", ".join(formats))
        raise AnnotateError(message)


def _list_files(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """List the files that one argument names: path -> file information.

    RAISES (OSError): If a folder cannot be read.
    """
    local = isinstance(fs, LocalFileSystem)
    if fs.isfile(path) or (local and _is_special(path)):
        return {path: fs.info(path)}

    def is_hidden(name: str) -> bool:
        parts = name.removeprefix(path).strip("/").split("/")
        return any(part.startswith((".", "_")) for part in parts)

    def report(error: OSError) -> None:
        if not is_hidden(str(error.filename)):
            raise error

    if not fs.isdir(path):
        matches = fs.glob(path, detail=True)
        if local:
            _check_glob(fs, path)
            # fsspec takes links for something else than files
            return {n: info for n, info in matches.items() if not os.path.isdir(n)}
        return {n: info for n, info in matches.items() if info["type"] == "file"}
    files = {}
    options = {"on_error": report} if local else {}
    for name, info in fs.find(path, detail=True, **options).items():
        if not is_hidden(name) and format_of(name):
            files[name] = info
    return files


def _check_glob(fs: AbstractFileSystem, pattern: str) -> None:
    """Check that the folders that a glob looks into can be read.

    RAISES (OSError): If they cannot.
    """
    parts = pattern.split("/")
    for end in range(1, len(parts) + ("**" in parts[-1])):
        for folder in filter(os.path.isdir, fs.glob("/".join(parts[:end]))):
            os.scandir(folder).close()


def _is_special(path: str) -> bool:
    """Whether a path is a named pipe, a device or a socket."""
    if not os.path.exists(path):
        return False
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _input_file(path: str, info: dict[str, Any]) -> InputFile:
    if not URL.match(path):
        if _is_special(path):
            raise AnnotateError(Errors.P426.format(path=path))
        with wrap_read_errors(path):
            info = _local_info(path)
    elif info.get("size") is None:  # the listing of a web server
        fs, inside = open_fs(path)
        with wrap_read_errors(path):
            info = fs.info(inside)
    data_format = format_of(path)
    if data_format is None:
        raise AnnotateError(Errors.P1023.format(path=path, known=KNOWN_SUFFIXES))
    return InputFile(path, data_format, *_state(path, info))


def _local_info(path: str) -> dict[str, Any]:
    """What a listing says of a local file; of a link's target, for a link.

    RAISES (OSError): If there is no file.
    """
    found = os.stat(path)
    return {"size": found.st_size, "mtime": found.st_mtime}


def _state(path: str, info: dict[str, Any]) -> tuple[int, str]:
    """The size and the modification time of a file.

    RAISES (AnnotateError): If its size is unknown.
    """
    if info.get("size") is None:
        raise AnnotateError(Errors.P1014.format(path=path))
    modified = next((str(info[key]) for key in _MODIFIED if info.get(key)), "")
    return int(info["size"]), modified


def check_file_unchanged(file: InputFile) -> None:
    """Check that an input file is the one that the run began with.

    file (InputFile): The file as it was then.
    RAISES (AnnotateError): If it was replaced, changed or deleted.
    RAISES (ShardError): If it cannot be reached.
    """
    fs, inside = open_fs(file.path)
    local = isinstance(fs, LocalFileSystem)
    fs.invalidate_cache()
    with wrap_read_errors(file.path):
        try:
            info = _local_info(inside) if local else fs.info(inside)
            size, modified = _state(file.path, info)
        except FileNotFoundError:
            size, modified = -1, ""
    if local:
        same = modified == file.modified
    else:
        same = _is_same_state(modified, file.modified)
    if size != file.size or not same:
        raise AnnotateError(Errors.P427.format(path=file.path))


def _is_same_state(now: str, before: str) -> bool:
    """Whether a remote file may be the same, by its modification times or tags."""
    first, second = _seconds(now), _seconds(before)
    if first is not None and second is not None:
        # a listing may have another precision than a single file's times
        return abs(first - second) < 1
    if first is None and second is None and now and before:
        return now == before
    return True


def _seconds(modified: str) -> float | None:
    """A modification time as seconds; None if its format is unknown."""
    with suppress(ValueError):
        return float(modified)
    with suppress(ValueError):
        return datetime.fromisoformat(modified.replace("Z", "+00:00")).timestamp()
    return None


@contextmanager
def wrap_read_errors(path: str) -> Iterator[None]:
    """Report errors in the `with` block as errors of an input file.

    path (str): The input file.
    RAISES (ShardError): Instead of an error that a broken file or a file system can
        cause.
    """
    try:
        yield
    except AnnotateError:
        raise
    except Exception as error:
        if not isinstance(error, UNREADABLE) and not is_remote(path):
            raise
        raise ShardError(Errors.P403.format(path=path, error=error)) from error


@contextmanager
def open_file(path: str) -> Iterator[IO[bytes]]:
    """Open a local or remote file for reading, decompressed by its suffix."""
    fs, inside = open_fs(path)
    # Arrow reads .zst everywhere, fsspec only where the package zstandard is installed
    zstd = inside.lower().endswith(".zst")
    with OpenFile(fs, inside, compression=None if zstd else "infer") as file:
        if zstd:
            stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
            yield io.BufferedReader(stream)
        else:
            yield file
