"""Small checks of values and paths."""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path
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


def check_path(path: Path) -> None:
    """Check that it can be told what is at a path; `pathlib` itself does not always.

    path (Path): The path. There may be nothing.
    RAISES (OSError): If it cannot be told: its folder is closed, its name is too long,
        or links lead in a circle.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of a null
        return
