"""Lines of `word|TAG`, with a sentence or a token on each."""

from __future__ import annotations

import re
from collections import Counter

SEPARATORS = ("|", "/")
ENDS = re.compile(r"O|[BIESLUM][-_:]\S+|[A-Z][A-Z_]+")


def unfold(lines: list[str]) -> list[tuple[int, str]]:
    """Write a token on each line, with tabs between its columns.

    lines (list[str]): The lines of a file.
    RETURNS (list[tuple[int, str]]): Lines with the number, from 1, that they have in
        the file. They are unchanged if the file has no tokens of `word|TAG`.
    """
    rows = [line.split() for line in lines]
    for separator in SEPARATORS:
        if _is_piped(rows, separator):
            return _tokens(rows, separator)
    return list(enumerate(lines, start=1))


def _is_piped(rows: list[list[str]], separator: str) -> bool:
    """Whether most lines hold nothing but tokens with a tag."""
    filled = [row for row in rows if row]
    ends = [[chunk.rpartition(separator) for chunk in row] for row in filled]
    fitting = [
        row for row in ends if all(word and ENDS.fullmatch(tag) for word, _, tag in row)
    ]
    outside = any(tag == "O" for row in fitting for _, _, tag in row)
    return outside and 2 * len(fitting) > len(filled)


def _tokens(rows: list[list[str]], separator: str) -> list[tuple[int, str]]:
    """The tokens of all lines; an empty line ends a sentence."""
    one_line = any(len(row) > 1 for row in rows)
    counts = Counter(chunk.count(separator) for row in rows for chunk in row)
    columns = counts.most_common(1)[0][0]
    tokens: list[tuple[int, str]] = []
    for number, row in enumerate(rows, start=1):
        tokens += ((number, "\t".join(x.rsplit(separator, columns))) for x in row)
        if one_line or not row:
            tokens.append((number, ""))
    return tokens
