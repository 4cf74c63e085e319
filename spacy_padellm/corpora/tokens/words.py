"""Join the tokens of a source into a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spacy_padellm.corpora.records import CorpusRecord


def join_words(
    words: list[str],
    mentions: Iterable[tuple[int, int, str]],
    *,
    line: int,
    joiner: str,
    text: str = "",
    joined: Sequence[bool] = (),
    notes: tuple[str, ...] = (),
) -> CorpusRecord:
    """Make the record of a sentence.

    words (list[str]): Its tokens.
    mentions (Iterable[tuple[int, int, str]]): First token, last token (inclusive) and
        label of each mention.
    line (int): The line where it starts.
    joiner (str): The separator of tokens: " ", or "" in languages without spaces.
    text (str): The text of the source, if it has one; not used if it does not fit.
    joined (Sequence[bool]): Whether no space follows each token; empty if unknown.
    notes (tuple[str, ...]): Notes of the record.
    RETURNS (CorpusRecord): The record. Its tokens are those of the source, if the text
        was joined with spaces.
    """
    starts = _locate_words(text, words)
    is_source = starts is not None
    joined = joined or [False] * len(words)
    spaces = [joiner == " " and not no_space for no_space in joined]
    spaces[-1] = False
    if starts is None:
        text, starts = "", []
        for word, space in zip(words, spaces, strict=True):
            starts.append(len(text))
            text += word + " " * space
    spans = tuple(
        (starts[first], starts[last] + len(words[last]), label)
        for first, last, label in mentions
    )
    if is_source or not joiner:
        return CorpusRecord(text, spans, line, notes=notes)
    return CorpusRecord(text, spans, line, words=words, spaces=spaces, notes=notes)


def _locate_words(text: str, words: list[str]) -> list[int] | None:
    """Find the words in a text; None if there is more than whitespace between."""
    starts: list[int] = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        starts.append(start)
        end = start + len(word)
    return None if text[end:].strip() else starts
