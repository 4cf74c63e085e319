"""The occurrences of a string in a text."""

from __future__ import annotations

from collections.abc import Iterator


def find_all(text: str, string: str) -> Iterator[int]:
    """Yield the start offsets of all occurrences of a string, including overlapping
    ones.

    text (str): The text.
    string (str): The string; not empty.
    """
    start = text.find(string)
    while start >= 0:
        yield start
        start = text.find(string, start + 1)
