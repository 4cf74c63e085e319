"""Docstrings in spaCy's style, as Markdown: an extension of griffe for mkdocs.yml."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ITEM = re.compile(r"(?P<name>\*{0,2}\w+(?:, \w+)*) \((?P<type>.+?)\): (?P<text>.*)")
_WORDS = {"RETURNS": "Returns", "YIELDS": "Yields", "RAISES": "Raises"}


def to_markdown(docstring: str) -> str:
    """Write arguments, results and errors as a list.

    docstring (str): A docstring, without its indentation.
    RETURNS (str): The same as Markdown.
    """
    lines: list[str] = []
    in_list = False
    for line in docstring.splitlines():
        match = _ITEM.match(line)
        if match and not in_list and lines and lines[-1].strip():
            lines.append("")
        if match:
            name = match["name"]
            words = f"*{_WORDS[name]}*" if name in _WORDS else f"`{name}`"
            line = f"- {words} (`{match['type']}`): {match['text']}"
            in_list = True
        elif line and not line.startswith(" "):
            if in_list and lines and lines[-1].strip():
                lines.append("")
            in_list = False
        lines.append(line)
    return "\n".join(lines)


class SpacyDocstrings(griffe.Extension):  # type: ignore[misc, unused-ignore]
    """Rewrites the docstring of each object."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """See `griffe.Extension`."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
