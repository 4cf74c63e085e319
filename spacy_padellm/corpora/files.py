"""Source files, plain or compressed, single or in a folder."""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.core import OpenFile
from fsspec.implementations.local import LocalFileSystem

from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.errors import Errors

# no .zip: fsspec reads only the first file of an archive
COMPRESSIONS = (".gz", ".bz2", ".xz")
BOM = "\ufeff"
UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error, UnicodeDecodeError)


def plain_name(path: Path) -> Path:
    """Remove the compression suffix of a path.

    path (Path): The path of a file.
    RETURNS (Path): The path without a trailing .gz, .bz2 or .xz.
    """
    return path.with_suffix("") if path.suffix in COMPRESSIONS else path


def source_files(path: Path, *, data_format: str, suffixes: set[str]) -> list[Path]:
    """List the files to convert.

    path (Path): A file with any suffix, or a folder.
    data_format (str): The name of the format, for the error message.
    suffixes (set[str]): The suffixes of the files to take from a folder, without
        compression suffix.
    RETURNS (list[Path]): The files, sorted by name.
    RAISES (ConversionError): If there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConversionError(Errors.P201.format(path=path))
    inside = (file for file in path.iterdir() if file.is_file())
    files = sorted(file for file in inside if plain_name(file).suffix in suffixes)
    if not files:
        names = ", ".join(sorted(suffixes))
        raise ConversionError(
            Errors.P202.format(path=path, format=data_format, suffixes=names)
        )
    return files


def read_text(path: Path) -> str:
    """Read a UTF-8 file, decompressed by its suffix.

    path (Path): The file.
    RETURNS (str): Its text, with line ends and byte-order mark unchanged.
    RAISES (ConversionError): If it cannot be read.
    """
    compression = "infer" if path.suffix in COMPRESSIONS else None
    try:
        with OpenFile(LocalFileSystem(), str(path), compression=compression) as file:
            return str(file.read(), "utf-8")
    except UNREADABLE as error:
        raise ConversionError(Errors.P207.format(path=path, reason=error)) from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 file, decompressed by its suffix.

    path (Path): The file.
    RETURNS (list[str]): The lines without line ends and byte-order mark.
    """
    # not splitlines(), which also splits at U+0085 and U+2028; texts may contain these
    lines = read_text(path).removeprefix(BOM).split("\n")
    return [line.removesuffix("\r") for line in lines]


def read_json_lines(path: Path) -> Iterator[tuple[int, Any] | BadLine]:
    """Read a file with one JSON value per line; empty lines are skipped.

    path (Path): The file.
    YIELDS (tuple[int, Any] | BadLine): The line number, from 1, and the value.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadLine(path, number, f"not one JSON value a line: {error}")
