"""Find the columns of tokens and tags in a CoNLL-like file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from spacy_padellm.corpora.records import ConversionError
from spacy_padellm.errors import Errors

TAG = re.compile(r"O|[BIESLUM]-\S.*")
"""The tags of IOB1, IOB2, BIOES, BILUO and BMES."""

NUMBER = re.compile(r"\d+")

DOCSTART = "-DOCSTART-"


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a file.

    tabs (bool): Whether columns are separated by single tabs, not by spaces.
    width (int): The number of columns.
    token (int): The column of the tokens, from 0.
    tag (int): The column of the tags, from 0.
    numbered (bool): Whether the first column numbers the tokens of a sentence.
    """

    tabs: bool
    width: int
    token: int
    tag: int
    numbered: bool

    def problem(self, row: list[str]) -> str | None:
        """Check a line.

        row (list[str]): The columns of the line.
        RETURNS (str | None): What is wrong with it, or None.
        """
        if len(row) != self.width:
            separators = "tabs" if self.tabs else "spaces"
            return (
                f"{len(row)} column(s) separated by {separators}, "
                f"{self.width} in the rest of the file"
            )
        if not row[self.token]:
            return "the token is empty"
        if not TAG.fullmatch(row[self.tag]):
            return f"{row[self.tag]!r} is not a tag"
        return None


def split_columns(line: str, *, tabs: bool) -> list[str]:
    """Split a line into columns.

    line (str): The line.
    tabs (bool): Whether to split at every tab, else at runs of spaces and tabs.
    RETURNS (list[str]): The columns.
    """
    # not str.split(), which also splits at U+00A0 and U+3000; tokens may contain these
    return line.split("\t") if tabs else re.split(r"[ \t]+", line.strip(" \t"))


def may_be_comment(line: str) -> bool:
    """Check whether a line may be a comment; "#" may also be a token.

    line (str): The line.
    RETURNS (bool): Whether it starts with "# ", or is "#".
    """
    return line.startswith("# ") or line == "#"


def find_layout(
    path: Path,
    lines: list[str],
    *,
    tag_column: int | None,
    token_column: int | None,
) -> ColumnLayout:
    """Detect the columns of a file.

    path (Path): The file, for messages.
    lines (list[str]): Its lines.
    tag_column (int | None): The column of the tags; negative numbers count from the
        right. None for the last column where most values are tags.
    token_column (int | None): The column of the tokens, likewise. None for the first
        column with neither tags nor token numbers.
    RETURNS (ColumnLayout): The columns.
    RAISES (ConversionError): If there are no such columns.
    """
    data = [x for x in lines if x.strip() and not may_be_comment(x)]
    tabs = 2 * sum("\t" in line for line in data) > len(data)
    rows = [split_columns(line, tabs=tabs) for line in data if DOCSTART not in line]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
    tag, token = tag_column, token_column
    if tag is None:
        tag = next((i for i in reversed(range(width)) if _mostly(TAG, columns[i])), 0)
        if width < 2 or not _mostly(TAG, columns[tag]):
            raise ConversionError(Errors.P209.format(path=path))
    if token is None:
        token = _token_column(columns, tag % max(width, 1))
    allowed = range(-width, width)
    if tag not in allowed or token not in allowed or (tag - token) % width == 0:
        raise ConversionError(
            Errors.P210.format(
                path=path,
                tag=tag,
                token=token,
                width=width,
                first=-width,
                last=width - 1,
            )
        )
    token, tag = token % width, tag % width
    numbered = 0 not in (token, tag) and _mostly(NUMBER, columns[0])
    return ColumnLayout(tabs=tabs, width=width, token=token, tag=tag, numbered=numbered)


def _token_column(columns: list[tuple[str, ...]], tag: int) -> int:
    """Choose the first column that holds neither the tags nor token numbers."""
    others = [i for i in range(len(columns)) if i != tag]
    if len(others) > 1 and _mostly(NUMBER, columns[others[0]]):
        return others[1]
    return others[0] if others else tag


def _mostly(pattern: re.Pattern[str], values: tuple[str, ...]) -> bool:
    """Whether more than half of the values match."""
    return 2 * sum(pattern.fullmatch(value) is not None for value in values) > len(
        values
    )
