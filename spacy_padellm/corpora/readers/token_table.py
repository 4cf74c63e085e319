"""Tables of one token a row: which they are, how their tags are written, and where
their sentences end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.corpora.readers.cells import SURPLUS, cell_value, cells_problem
from spacy_padellm.corpora.tokens.tags import (
    BACKWARD,
    LABEL,
    TAG,
    capital_tag,
    has_small_tags,
)

Row = dict[str, Any]

WORDS = ("word", "token", "form")
MORE_WORDS = ("text", "words", "tokens")
TAGS = ("tag", "ner", "ner_tag", "label", "iob", "tags", "labels", "ner_tags")
NAMED = ("ner", "ner_tag", "ner_tags")
SENTENCES = ("sentence #", "sentence", "sentence_id", "sent_id", "sentence_idx")
"""Names of the columns. `MORE_WORDS` are those of whole texts, too; the tags of `NAMED`
are those of names, whatever they look like."""

MISSING = ("", None)
ENDS = (*((x, y) for x in MISSING for y in MISSING), ("", "O"))
"""The cells of tokens and tags in rows that part sentences."""

_SWALLOWED = re.compile(r"[,;\t].*[\r\n].*", re.DOTALL)
"""The rest of a row and the next ones, behind a cell that is a quotation mark."""


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The columns of a table of one token a row.

    word (str), tag (str): The names of those of the tokens and tags.
    sentence (str | None): The name of the one that names the sentences, if any.
    small (bool): Whether the tags are written in small letters, as b-per.
    bare (bool): Whether the tags are labels without B- and I-.
    """

    word: str
    tag: str
    sentence: str | None
    small: bool = False
    bare: bool = False

    def read_tag(self, cell: Any) -> Any:
        """Read a cell of the tags.

        cell (Any): The cell.
        RETURNS (Any): The tag, with B- and I-; no tag, if the cell holds none.
        """
        if not isinstance(cell, str):
            return cell
        tag = capital_tag(cell.strip()) if self.small else cell.strip()
        is_label = self.bare and tag != "O" and LABEL.fullmatch(tag)
        return f"I-{tag}" if is_label else tag


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row of one token.

    number (int): The number of the row, from 1.
    word (Any), tag (Any): Its token, and its tag with B- and I-; something else, if the
        row is broken.
    broken (str | None): What is wrong with its cells, if anything.
    """

    number: int
    word: Any
    tag: Any
    broken: str | None = None

    def problem(self) -> str | None:
        """RETURNS (str | None): What is wrong with the row, or None."""
        if self.broken:
            return self.broken
        for name, cell in (("token", self.word), ("tag", self.tag)):
            if not isinstance(cell, str) or not cell:
                return f"the row has no {name}"
        is_tag = TAG.fullmatch(self.tag)
        return None if is_tag else f"{self.tag!r} is not a tag (O, B-PER, I-PER ...)"


def find_token_columns(rows: Sequence[Row]) -> TokenColumns | None:
    """Find the columns of a table of one token a row.

    rows (Sequence[dict[str, Any]]): The rows of a table.
    RETURNS (TokenColumns | None): The columns; None if it is a table of another kind.
    """
    found = {name for row in rows for name in row}
    word, tag, sentence = (
        next((name for name in known if name in found), None)
        for known in (WORDS + MORE_WORDS, TAGS, SENTENCES)
    )
    if word is None or tag is None:
        return None
    cells = [(row.get(word), row.get(tag)) for row in rows]
    filled = [pair for pair in cells if pair not in ENDS]
    is_kind = _is_tagged if word in MORE_WORDS else _is_token
    if 2 * sum(is_kind(*pair) for pair in filled) <= len(filled):
        return None
    tags = [cell.strip() for _, cell in filled if isinstance(cell, str)]
    small = has_small_tags(tags, named=tag in NAMED)
    return TokenColumns(word, tag, sentence, small, bare=not small and _is_bare(tags))


def split_sentences(
    rows: Iterable[Row], columns: TokenColumns
) -> Iterator[list[TokenRow]]:
    """Group the rows of tokens into sentences.

    rows (Iterable[dict[str, Any]]): The rows of the table. Those without token and tag
        end a sentence, and so does another name of the sentence.
    columns (TokenColumns): Its columns.
    YIELDS (list[TokenRow]): The rows of a sentence.
    """
    sentence: list[TokenRow] = []
    name: Any = None  # it may be in the first row of its sentence alone
    for number, row in enumerate(rows, start=1):
        word, tag = row.get(columns.word), row.get(columns.tag)
        new_name = row.get(columns.sentence) if columns.sentence else None
        is_end = (word, tag) in ENDS and not _is_shifted(row, columns)
        if sentence and (is_end or new_name not in (*MISSING, name)):
            yield sentence
            sentence = []
        name = name if new_name in MISSING else new_name
        if not is_end:
            broken = cells_problem(row) or _quote_problem(row, columns)
            sentence.append(TokenRow(number, word, columns.read_tag(tag), broken))
    if sentence:
        yield sentence


def _is_shifted(row: Row, columns: TokenColumns) -> bool:
    """Whether an unquoted comma as a token has moved the cells of a row."""
    if SURPLUS not in row:
        return False
    others = (cell for name, cell in row.items() if name != columns.sentence)
    return any("".join(cell).strip() for cell in others)


def _quote_problem(row: Row, columns: TokenColumns) -> str | None:
    """What is wrong with a row where an unquoted quotation mark hides other rows."""
    for name, cell in row.items():
        text = cell if isinstance(cell, str) else ""
        # a token may be a line break, but holds none
        if name == columns.word:
            is_wrong = any(mark in text for mark in "\r\n") and not text.isspace()
        else:
            is_wrong = _SWALLOWED.fullmatch(text) is not None
        if is_wrong:
            return (
                f"the cell {text[:40]!r} holds a line break. Quote cells that hold a "
                'quotation mark, which is doubled there: """"'
            )
    return None


def _is_bare(tags: Sequence[str]) -> bool:
    """Whether most tags are labels without B- and I-, as PER; PER-B is none."""
    kinds = [tag for tag in tags if tag != "O"]
    alone = [tag for tag in kinds if LABEL.fullmatch(tag) and not TAG.fullmatch(tag)]
    if len(kinds) == len(tags) or all(map(BACKWARD.fullmatch, alone)):
        return False
    return 2 * len(alone) > len(kinds)


def _is_token(word: Any, tag: Any) -> bool:
    """Whether two cells are strings that hold no lists."""
    return isinstance(cell_value(word), str) and isinstance(cell_value(tag), str)


def _is_tagged(word: Any, tag: Any) -> bool:
    """Whether two cells are a single word and its tag."""
    is_word = _is_token(word, tag) and not word.split()[1:]
    return is_word and TAG.fullmatch(tag.strip()) is not None
