"""Source files, plain or compressed, single or in a folder."""

from __future__ import annotations

import json
import lzma
import os
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fsspec.core import OpenFile
from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.corpora.foreign import file_name
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.errors import Errors

# no .zip: fsspec reads only the first file of an archive
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
"""Suffix -> its name in fsspec."""

ABOUT = re.compile(r"\..*|(readme|licen[cs]e)\b.*", re.IGNORECASE)
"""Names of files that are hidden, or about a data set."""

ABOUT_TEXT = re.compile(r"(readme|licen[cs]e)(\.\w+)*\.txt")
"""Those of texts that no data has; license-plates.txt may be data."""

BETWEEN_VALUES = re.compile(r"[\s,]*")
BOM = "\ufeff"
# a small compressed file may be larger than the memory
UNREADABLE = (OSError, EOFError, MemoryError, lzma.LZMAError, zlib.error)
BROKEN = (ValueError, RecursionError)  # the errors of JSON
START = 4096  # bytes that show what a file is


def plain_name(path: Path) -> Path:
    """Remove the compression suffix of a path.

    path (Path): The path of a file.
    RETURNS (Path): The path without a trailing .gz, .bz2 or .xz.
    """
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


def source_files(path: Path, *, data_format: str, suffixes: set[str]) -> list[Path]:
    """List the files to convert.

    path (Path): A file with any suffix, or a folder.
    data_format (str): The name of the format, for the error message.
    suffixes (set[str]): The suffixes of the files to take from a folder, without
        compression suffix. Hidden files are not taken, nor texts about the data.
    RETURNS (list[Path]): The files, sorted by name.
    RAISES (ConversionError): If there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        message = Errors.P426 if path.exists() else Errors.P201
        raise ConversionError(message.format(path=path))
    seen = (file for file in path.iterdir() if not file.name.startswith("."))
    inside = [file for file in seen if file.is_file()]
    names = {plain_name(file).name.lower() for file in inside}
    files = sorted(
        file
        for file in inside
        if plain_name(file).suffix.lower() in suffixes and not _is_about(file, names)
    )
    if not files:
        known = ", ".join(sorted(suffixes))
        raise ConversionError(
            Errors.P202.format(path=path, format=data_format, suffixes=known)
        )
    return files


def _is_about(file: Path, names: Collection[str]) -> bool:
    """Whether a file is a text about the data; not, if it is annotated with brat.

    names (Collection[str]): The names in its folder, in small letters.
    """
    name = plain_name(file).name.lower()
    return bool(ABOUT_TEXT.fullmatch(name)) and f"{name[:-4]}.ann" not in names


def left_out(path: Path, known: Collection[Path], *, target: Path) -> list[str]:
    """Name what a folder holds beside the files that are converted.

    path (Path): The folder, or a file.
    known (Collection[Path]): The files that are converted, or named as bad.
    target (Path): The file to write, which may be in the folder.
    RETURNS (list[str]): The names of its other files, and of its folders with a slash;
        not those of hidden files, readmes and licences. None, if the path is a file.
    """
    inside = sorted(path.iterdir()) if path.is_dir() else []
    others = [x for x in inside if x not in known and not ABOUT.fullmatch(x.name)]
    others = [x for x in others if x.resolve() != target.resolve()]
    return [f"{x.name}/" if x.is_dir() else x.name for x in others]


def read_text(path: Path) -> str:
    """Read a UTF-8 file, decompressed by its suffix.

    path (Path): The file.
    RETURNS (str): Its text, with line ends and byte-order mark unchanged.
    RAISES (ConversionError): If it cannot be read; of a known format with its name.
    """
    content = _read_bytes(path)
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        if found := file_name(content[:START]):
            raise ConversionError(foreign_message(path, found)) from error
        raise ConversionError(Errors.P800.format(path=path, reason=error)) from error


def foreign_message(path: Path, found: tuple[str, str]) -> str:
    """The message of a file that is not read.

    path (Path): The file.
    found (tuple[str, str]): What it is, and what to do instead.
    """
    kind, remedy = found
    return Errors.P214.format(path=path, kind=kind, remedy=remedy)


def read_start(path: Path) -> bytes:
    """Read the beginning of a file, decompressed by its suffix.

    path (Path): The file.
    RETURNS (bytes): Its first bytes.
    RAISES (ConversionError): If it cannot be read.
    """
    return _read_bytes(path, START)


def _read_bytes(path: Path, size: int = -1) -> bytes:
    """Read a file; ConversionError if that fails."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    # else fsspec takes the start of a name such as 'file:x' for a protocol
    name = os.path.abspath(path)
    try:
        with OpenFile(LocalFileSystem(), name, compression=compression) as file:
            return bytes(file.read(size))
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise ConversionError(Errors.P207.format(path=path, reason=reason)) from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 file, decompressed by its suffix.

    path (Path): The file.
    RETURNS (list[str]): The lines without line ends and byte-order mark.
    """
    # not splitlines(), which also splits at U+0085 and U+2028; texts may contain these
    return re.split(r"\r\n|\n|\r", read_text(path).removeprefix(BOM))


def read_json_lines(path: Path) -> Iterator[tuple[int, Any] | BadLine]:
    """Read a file with one JSON value per line; empty lines are skipped.

    A file that is one list of lists or objects is read as if each were on a line. So
    are values that each take several lines, or have commas between them.

    path (Path): The file.
    YIELDS (tuple[int, Any] | BadLine): The number of the line or item, from 1, and the
        value.
    """
    lines = read_lines(path)
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    # one line may be a list of items; if the first is no value, the file may be one
    if len(filled) == 1 or (filled and isinstance(_parse(filled[0][1]), BROKEN)):
        values = _file_values("\n".join(lines))
        if isinstance(values, list):
            yield from enumerate(values, start=1)
            return
        if not _has_rows([_parse(line) for _, line in filled]):
            yield BadLine(path, 0, f"not JSON: {values}")
            return
    for number, line in filled:
        value = _parse(line)
        if isinstance(value, BROKEN):
            yield BadLine(path, number, f"not one JSON value a line: {value}")
        else:
            yield number, value


def _has_rows(values: list[Any]) -> bool:
    """Whether lines are rows, some of which are broken.

    values (list[Any]): The value of each line, or its error.
    """
    rows = sum(
        isinstance(x, list) and len(x) > 0 and isinstance(x[0], str) for x in values
    )
    # in a file of one broken value, the last line may be a list too
    return any(isinstance(x, dict) for x in values) or 2 * rows > len(values)


def _file_values(text: str) -> list[Any] | Exception:
    """The values of a file that has no value on each line; the error, if none."""
    whole = _parse(text)
    if isinstance(whole, BROKEN):
        return _parse_stream(text) or whole
    return _items(whole)


def _items(whole: Any) -> list[Any]:
    """The items of a file that is one JSON value."""
    if isinstance(whole, list) and all(isinstance(x, dict | list) for x in whole):
        return whole
    return [whole]


def _parse_stream(text: str) -> list[Any]:
    """Parse JSON values with blanks or commas between them; none, if one is broken."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    place = _skipped(text, 0)
    try:
        while place < len(text):
            value, end = decoder.raw_decode(text, place)
            values.append(value)
            place = _skipped(text, end)
    except BROKEN:
        return []
    return values


def _skipped(text: str, place: int) -> int:
    """The place after blanks and commas."""
    match = BETWEEN_VALUES.match(text, place)
    return match.end() if match else place


def _parse(text: str) -> Any:
    """Parse JSON; the error, if it is none."""
    try:
        return json.loads(text)
    except BROKEN as error:
        return error
