"""Where a string stands in a text."""

from __future__ import annotations

from collections.abc import Iterator


def find_all(text: str, string: str) -> Iterator[int]:
    """Yield all start offsets of a non-empty string, of overlapping ones too."""
    start = text.find(string)
    while start >= 0:
        yield start
        start = text.find(string, start + 1)
