"""The columns of a CoNLL-like file: its tokens, and its tags with B- and I-."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spacy_padellm.corpora.tokens.tags import TAG, capital_tag, split_tag

DOCSTART = "-DOCSTART-"

HEADER = re.compile(
    r"(ner|ne|bio|iob|entity)([ _-]?(tags?|labels?))?|tags?|labels?|ne-[\w-]+",
    re.IGNORECASE,
)
"""What the column of tags is called in a first line of names."""

TOKEN_HEADER = re.compile(r"words?|tokens?|forms?|text", re.IGNORECASE)
"""What the column of tokens is called there."""

SHARED = re.compile(r"\|(?=[BIESLUM]-)")
"""What parts the tags of one token, where it may also part keys."""


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a file.

    tabs (bool): Whether columns are separated by single tabs, not by spaces.
    width (int): The number of columns.
    token (int): The column of the tokens, from 0.
    tags (tuple[int, ...]): The columns of the tags, from 0.
    numbered (bool): Whether the first column numbers the tokens of a sentence.
    key (str | None): The key of the tag, if its column holds `key=value|key=value`.
    bare (bool): Whether the tags are labels without B- and I-.
    outside (str): The tag of a token outside mentions.
    small (bool): Whether the tags are written in small letters, as b-per.
    language (str): What all tokens begin with, as WikiANN's "en:"; else "".
    """

    tabs: bool
    width: int
    token: int
    tags: tuple[int, ...]
    numbered: bool
    key: str | None = None
    bare: bool = False
    outside: str = "O"
    small: bool = False
    language: str = ""

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
        if not self.word(row):
            return "the token is empty"
        tags = [self.tag(row, column) for column in self.tags]
        wrong = (tag for tag in tags if not TAG.fullmatch(tag))
        return next((f"{tag!r} is not a tag" for tag in wrong), None)

    def word(self, row: list[str]) -> str:
        """The token of a line.

        row (list[str]): The columns of the line.
        RETURNS (str): The token.
        """
        return row[self.token].removeprefix(self.language)

    def tag(self, row: list[str], column: int) -> str:
        """The tag of a token.

        row (list[str]): The columns of its line.
        column (int): One of `tags`.
        RETURNS (str): The tag, with B- and I-.
        """
        tag = row[column].strip()
        if self.key:
            tag = keyed_values(tag).get(self.key, "O")
        tag = capital_tag(tag) if self.small else tag
        tag = "O" if tag == self.outside else tag
        return f"I-{tag}" if self.bare and tag != "O" else tag

    def labels(self, row: list[str]) -> set[str]:
        """The labels of a token.

        row (list[str]): The columns of its line, for which `problem` is None.
        RETURNS (set[str]): The labels; none, if it is outside mentions.
        """
        parts = (p for x in self.tags for p in split_tag(self.tag(row, x)))
        return {part[2:] for part in parts if part != "O"}

    def is_header(self, row: list[str]) -> bool:
        """Check whether the first filled line of a file names the columns.

        row (list[str]): The columns of the line.
        RETURNS (bool): Whether it does.
        """
        if len(row) != self.width or not TOKEN_HEADER.fullmatch(row[self.token]):
            return False
        return all(HEADER.fullmatch(row[column].strip()) for column in self.tags)


def keyed_values(cell: str) -> dict[str, str]:
    """Split a cell of `key=value|key=value`; a value may be several tags.

    cell (str): The cell.
    RETURNS (dict[str, str]): Key -> value.
    """
    parts = (part.partition("=") for part in SHARED.sub(",", cell).split("|"))
    return {key: value for key, mark, value in parts if mark}


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
    RETURNS (bool): Whether it starts with "#" and a blank or tab, or is "#".
    """
    return line.startswith(("# ", "#\t")) or line == "#"
