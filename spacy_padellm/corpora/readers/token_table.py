"""Tables of one token a row: which they are, and where their sentences end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spacy_padellm.corpora.readers.cells import cell_value
from spacy_padellm.corpora.tokens.tags import TAG

Row = dict[str, Any]

WORDS = ("word", "token", "form")
MORE_WORDS = ("text", "words", "tokens")
TAGS = ("tag", "ner", "ner_tag", "label", "iob", "tags", "labels", "ner_tags")
SENTENCES = ("sentence #", "sentence", "sentence_id", "sent_id", "sentence_idx")
"""Names of the columns. `MORE_WORDS` are those of whole texts, too."""

MISSING = ("", None)
ENDS = (*((x, y) for x in MISSING for y in MISSING), ("", "O"))
"""The cells of tokens and tags in rows that part sentences."""


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """The columns of a table of one token a row.

    word (str), tag (str): The names of those of the tokens and tags.
    sentence (str | None): The name of the one that names the sentences, if any.
    """

    word: str
    tag: str
    sentence: str | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row of one token.

    number (int): The number of the row, from 1.
    word (Any), tag (Any): Its token and tag; no strings, if the row is broken.
    """

    number: int
    word: Any
    tag: Any

    def problem(self) -> str | None:
        """RETURNS (str | None): What is wrong with the row, or None."""
        for name, cell in (("token", self.word), ("tag", self.tag)):
            if not isinstance(cell, str) or not cell:
                return f"the row has no {name}"
        return None


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
    tokens = sum(is_kind(*pair) for pair in filled)
    return TokenColumns(word, tag, sentence) if 2 * tokens > len(filled) else None


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
        is_end = (word, tag) in ENDS
        if sentence and (is_end or new_name not in (*MISSING, name)):
            yield sentence
            sentence = []
        name = name if new_name in MISSING else new_name
        if not is_end:
            sentence.append(TokenRow(number, word, tag))
    if sentence:
        yield sentence


def _is_token(word: Any, tag: Any) -> bool:
    """Whether two cells are strings that hold no lists."""
    return isinstance(cell_value(word), str) and isinstance(cell_value(tag), str)


def _is_tagged(word: Any, tag: Any) -> bool:
    """Whether two cells are a single word and its tag."""
    is_word = _is_token(word, tag) and not word.split()[1:]
    return is_word and TAG.fullmatch(tag.strip()) is not None
