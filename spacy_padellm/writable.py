"""Output files are checked before long work starts, and replaced whole after it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from spacy_padellm.checks import check_path
from spacy_padellm.errors import Errors

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, mtime=0),  # the same for the same
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def make_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Check that a file can be written without a loss; creates its folder.

    path (Path): The file.
    inputs (Iterable[Path]): What the command reads.
    RAISES (ValueError): If it cannot be written, or is one of the inputs.
    """
    check_writable(path, inputs=inputs)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error


def make_all_writable(
    outputs: Mapping[str, Path | None], *, inputs: Iterable[Path] = ()
) -> None:
    """Check that files can be written without a loss; creates their folders.

    outputs (Mapping[str, Path | None]): Option -> its file, if it is given.
    inputs (Iterable[Path]): What the command reads.
    RAISES (ValueError): If one cannot be written, is one of the inputs, or is named
        twice.
    """
    inputs = [*inputs]
    options: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        make_writable(path, inputs=inputs)
        other = options.setdefault(os.path.realpath(path), option)
        if other != option:
            message = Errors.P974.format(first=other, second=option, path=path)
            raise ValueError(message)


def check_writable(path: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Check that a file can be written without a loss; creates nothing.

    path (Path): The file. Its folder may be missing.
    inputs (Iterable[Path]): What the command reads.
    RAISES (ValueError): If it cannot be written, or is one of the inputs.
    """
    try:
        check_path(path)
        is_input = path.is_file() and any(path.samefile(x) for x in _existing(inputs))
        problem = _problem(path)
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error
    if problem:
        raise ValueError(Errors.P197.format(path=path, error=problem))
    if is_input:
        raise ValueError(Errors.P830.format(path=path))


def _problem(path: Path) -> str | None:
    """Why a file cannot be written, if that is so."""
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not os.access(path, os.W_OK):
        return "it is read-only"
    # a link leads to the folder where the file will be
    parents = path.resolve().parents
    folder = next((parent for parent in parents if os.path.lexists(parent)), None)
    if folder is None or not folder.is_dir():
        return f"{folder or path.parent} is no folder"
    return None if os.access(folder, os.W_OK) else "its folder is read-only"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, which takes the place of an old one only when it is complete.

    path (Path): The file, compressed if its name ends in .gz, .bz2 or .xz. Its folder
        is created; links stay, devices are written to.
    content (bytes): What to write.
    RAISES (OSError): If it cannot be written. The old file is then as it was.
    """
    if compress := _COMPRESS.get(path.suffix.lower()):
        content = compress(content)
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".writing-{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _existing(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths of files; a text may be no path at all."""
    for path in paths:
        with suppress(OSError, ValueError):
            if path.is_file():
                yield path


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
