"""Small questions about values."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a setting is a number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a setting is a whole number; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def has_half_character(text: str) -> bool:
    """Whether a string holds half of a surrogate pair, which no file in UTF-8 can.

    text (str): The string; JSON may escape such a half.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
