"""Checks of values in the JSON files of model folders; each error names the field."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from spacy_padellm.checks import has_half_character, is_number, is_whole
from spacy_padellm.errors import Errors

Value = TypeVar("Value")

_LARGEST = math.nextafter(math.inf, 0)
_SHOWN = 80  # characters of a value in a message


def as_given(value: Any, field: str) -> Any:
    """Get any value; see `as_text`."""
    return value


def as_text(value: Any, field: str) -> str:
    """Get a string.

    value (Any): The value in the file.
    field (str): Its place in the file, for the error message.
    RAISES (ValueError): If it is not a string, or holds half a character.
    """
    if not isinstance(value, str) or has_half_character(value):
        raise _wrong(field, value, "a string")
    return value


def as_name(value: Any, field: str) -> str:
    """Get a string that is not empty; see `as_text`."""
    if not as_text(value, field):
        raise _wrong(field, value, "a string that is not empty")
    return str(value)


def as_flag(value: Any, field: str) -> bool:
    """Get true or false.

    value, field: See `as_text`.
    RAISES (ValueError): If it is neither.
    """
    if not isinstance(value, bool):
        raise _wrong(field, value, "true or false")
    return value


def as_number(value: Any, field: str) -> float:
    """Get a finite number.

    value, field: See `as_text`.
    RAISES (ValueError): If it is not one.
    """
    # whole numbers can be too large for a float
    if not is_number(value) or not -_LARGEST <= value <= _LARGEST:
        raise _wrong(field, value, "a finite number")
    return float(value)


def as_probability(value: Any, field: str) -> float:
    """Get a number between 0 and 1.

    value, field: See `as_text`.
    RAISES (ValueError): If it is not one.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise _wrong(field, value, "a number between 0 and 1")
    return float(value)


def as_token(value: Any, field: str) -> int:
    """Get the id of a token.

    value, field: See `as_text`.
    RAISES (ValueError): If it is not a whole number of at least 0.
    """
    if not is_whole(value) or value < 0:
        raise _wrong(field, value, "a whole number of at least 0")
    return int(value)


def as_mapping(
    value: Any, field: str, item: Callable[[Any, str], Value]
) -> dict[str, Value]:
    """Get an object.

    value, field: See `as_text`.
    item (Callable[[Any, str], Value]): Gets each of its values, as these functions do.
    RAISES (ValueError): If it is not an object, or a key or value of it is wrong.
    """
    if not isinstance(value, dict):
        raise _wrong(field, value, "an object")
    return {
        as_name(key, f"a key of {field}"): item(content, f"{field}.{key}")
        for key, content in value.items()
    }


def as_list(value: Any, field: str, item: Callable[[Any, str], Value]) -> list[Value]:
    """Get a list.

    value, field: See `as_text`.
    item (Callable[[Any, str], Value]): Gets each of its values, as these functions do.
    RAISES (ValueError): If it is not a list, or one of its values is wrong.
    """
    if not isinstance(value, list):
        raise _wrong(field, value, "a list")
    return [item(content, f"{field}[{i}]") for i, content in enumerate(value)]


def as_names(value: Any, field: str) -> list[str]:
    """Get a list of strings that are not empty; see `as_list`."""
    return as_list(value, field, as_name)


def _wrong(field: str, value: Any, expected: str) -> ValueError:
    shown = repr(value)[:_SHOWN]
    return ValueError(Errors.P506.format(field=field, value=shown, expected=expected))
