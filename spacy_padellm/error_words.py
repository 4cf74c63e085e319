"""What an error of another library says, made fit for a message."""

from __future__ import annotations

_LONGEST = 2000  # characters of another library's error


def words_of(error: BaseException) -> str:
    """The words of an error, which may quote a file of a stranger at length.

    error (BaseException): The error, of any kind.
    RETURNS (str): Its words, without a full stop; its type if it has none, or fails to
        tell them.
    """
    try:
        words = str(error).strip().removesuffix(".")[:_LONGEST]
    except Exception:
        words = ""
    # control characters could change what a terminal shows
    words = "".join(c if c.isprintable() or c == "\n" else " " for c in words)
    return words or type(error).__name__
