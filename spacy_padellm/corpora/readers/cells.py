"""Lists and objects that were written into the cells of a table."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

SURPLUS = " more cells"
"""The key of the cells for which a table has no columns; names have no blank first."""

UNREADABLE = " unreadable cells"
"""The key of what is wrong with the cells that could not be read."""

_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d+")
_NEXT = re.compile(r"(?<=[})\]])\s+(?=[{(\[])")


def cell_value(cell: Any) -> Any:
    """Read a cell.

    cell (Any): The cell: JSON, Python's or NumPy's way to write a list or object, or
        something else.
    RETURNS (Any): The list or object; the cell itself, if it is something else.
    """
    if not (isinstance(cell, str) and cell.startswith(("[", "{"))):
        return cell
    parsers: tuple[Callable[[str], Any], ...] = (
        json.loads,
        _numpy_list,
        ast.literal_eval,
        lambda text: ast.literal_eval(_NEXT.sub(", ", text)),
    )
    for parse in parsers:
        try:
            return _plain(parse(cell))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return cell


def cells_problem(row: dict[str, Any]) -> str | None:
    """What is wrong with a row of more cells than columns, or of unreadable cells.

    row (dict[str, Any]): A row of a table. Its empty cells at the end do no harm.
    RETURNS (str | None): The reason, or None.
    """
    if UNREADABLE in row:
        return str(row[UNREADABLE])
    surplus = row.get(SURPLUS, [])
    if not any(cell.strip() for cell in surplus):
        return None
    return (
        f"the row has more cells than there are columns: {surplus} is left over. Quote "
        "cells that hold the delimiter"
    )


def _numpy_list(cell: str) -> list[Any]:
    """Strings or numbers without commas, which Python would take for one string."""
    items = _LITERAL.findall(cell)
    if len(items) < 2 or _LITERAL.sub("", cell).split() not in (["[", "]"], ["[]"]):
        raise ValueError(cell)
    return [ast.literal_eval(item) for item in items]


def _plain(value: Any) -> Any:
    """Python's tuples as JSON's lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
