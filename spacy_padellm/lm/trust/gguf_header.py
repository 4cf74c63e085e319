"""Check the header of a GGUF file before the gguf package reads it.

The package reads each value of an array by itself, also where the file is at its end.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from spacy_padellm.errors import Errors
from spacy_padellm.lm.trust.announced import check_announced

_STRING, _ARRAY = 8, 9  # gguf.GGUFValueType
_FORMATS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_WHOLE = set("BbHhIiQq")
_MOST_VALUES = 4_000_000  # of all arrays; a vocabulary has some 100,000 tokens
_MOST_TENSORS = 100_000
_LONGEST_KEY = 1 << 16  # bytes


class _Header:
    """A place in the header."""

    def __init__(self, content: mmap.mmap, order: str) -> None:
        self.content, self.order, self.place = content, order, 8
        self.left = _MOST_VALUES  # of the arrays' values

    def number(self, kind: str) -> int:
        """Read a number."""
        (number,) = struct.unpack_from(self.order + kind, self.content, self.place)
        self.place += struct.calcsize("=" + kind)
        return int(number)

    def skip(self, size: int) -> None:
        """Pass over some bytes."""
        self.place += size
        if self.place > len(self.content):
            raise struct.error

    def text(self) -> str:
        """Read a key."""
        size = self.number("Q")
        if size > _LONGEST_KEY:
            raise struct.error
        self.skip(size)
        return self.content[self.place - size : self.place].decode("utf8", "replace")

    def value(self, kind: int) -> int | None:
        """Read a whole number, or pass over another value."""
        if kind == _STRING:
            self.skip(self.number("Q"))
        elif kind == _ARRAY:
            self._skip_array()
        elif _FORMATS[kind] in _WHOLE:
            return self.number(_FORMATS[kind])
        else:
            self.skip(struct.calcsize("=" + _FORMATS[kind]))
        return None

    def _skip_array(self) -> None:
        kind, count = self.number("I"), self.number("Q")
        self.left -= count
        if self.left < 0:
            raise struct.error
        if kind == _STRING:
            for _ in range(count):
                self.skip(self.number("Q"))
        else:
            self.skip(struct.calcsize("=" + _FORMATS[kind]) * count)


class GGUFParts(NamedTuple):
    """What a GGUF file is made of.

    tensors (int): Its number of tensors.
    shards (int): The number of files that its model is split into.
    """

    tensors: int = 0
    shards: int = 1


def check_gguf(file: Path) -> GGUFParts:
    """Check that a file holds the values that it announces.

    file (Path): The file. What is no GGUF file is left to the gguf package.
    RETURNS (GGUFParts): What it is made of.
    RAISES (ValueError): If it announces more, or more than any model has.
    """
    if file.stat().st_size < 24:  # magic, version and counts
        return GGUFParts()
    with file.open("rb") as opened:
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    with content:
        if content[:4] != b"GGUF":
            return GGUFParts()
        try:
            return _check(content, file)
        except (struct.error, KeyError):
            raise ValueError(Errors.P775.format(path=file)) from None


def _check(content: mmap.mmap, file: Path) -> GGUFParts:
    # the version shows the order of the bytes
    order = "<" if content[4:6] != b"\0\0" else ">"
    header = _Header(content, order)
    tensors, fields = header.number("Q"), header.number("Q")
    if tensors > _MOST_TENSORS:
        raise struct.error
    shards = 1
    for _ in range(fields):
        key = header.text()
        value = header.value(header.number("I"))
        check_announced({key: value}, source=file)
        if key == "split.count" and value is not None:
            shards = value
    return GGUFParts(tensors, shards)
