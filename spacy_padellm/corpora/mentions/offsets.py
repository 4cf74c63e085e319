"""Offsets that were counted in another way than in characters of the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape

from spacy_padellm.corpora.records import CharSpan, span_problem
from spacy_padellm.errors import Warnings

BOM = "\ufeff"
_ESCAPED_BREAK = re.compile(r"\\[nrt]")


@dataclass(frozen=True, slots=True)
class SourceMention:
    """A mention as it is in the file.

    start (int), end (int): Its offsets.
    label (str): Its label.
    string (str | None): Its string, if the file has it.
    """

    start: int
    end: int
    label: str
    string: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A way to count.

    note (str): Its note; "" if it needs no correction.
    characters (list[int]): The character of each unit, then the end of the text.
    extra (int): What to add to ends to make them exclusive.
    """

    note: str
    characters: list[int]
    extra: int


def char_spans(
    text: str, mentions: Sequence[SourceMention], *, inclusive: bool = False
) -> tuple[tuple[CharSpan, ...], tuple[str, ...]]:
    """Convert the mentions of a text to spans, and check them with their strings.

    If the strings differ, the offsets may not count carriage returns, or may count
    UTF-16 units or bytes, or have inclusive ends. The first way that fits all strings
    is used.

    text (str): The text.
    mentions (Sequence[SourceMention]): Its mentions.
    inclusive (bool): Whether the format has inclusive ends.
    RETURNS (tuple[tuple[CharSpan, ...], tuple[str, ...]]): The spans, and a note for
        each mention whose offsets were corrected.
    RAISES (ValueError): If an offset is not within the text, or no way fits.
    """
    extra = int(inclusive)
    found = _first_fit(text, mentions, _ways(text, extra))
    if found is None:
        raise ValueError(_problem(text, mentions, extra=extra))
    return found


def mention_problems(text: str, mentions: Sequence[SourceMention]) -> list[str | None]:
    """Check mentions one by one, each of which may be counted in its own way.

    text (str): The text.
    mentions (Sequence[SourceMention]): Its mentions, with exclusive ends.
    RETURNS (list[str | None]): For each, what is wrong with it, or None.
    """
    ways = list(_ways(text, 0))  # each is as long as the text
    return [
        None if _first_fit(text, [x], ways) else _problem(text, [x], extra=0)
        for x in mentions
    ]


def same_string(first: str, second: str) -> bool:
    """Compare a text with a mention's string in its file.

    The number and kind of blanks makes no difference, nor that tools write line breaks
    as "\\n" and "&" as "&amp;".

    first (str): The text.
    second (str): The string.
    RETURNS (bool): Whether they are the same.
    """
    if first.split() == second.split():
        return True
    unescaped = unescape(_ESCAPED_BREAK.sub(" ", second))
    return first.split() == unescaped.split()


def _first_fit(
    text: str, mentions: Sequence[SourceMention], ways: Iterable[Way]
) -> tuple[tuple[CharSpan, ...], tuple[str, ...]] | None:
    """The spans and notes of the first way to count that fits; None if none does."""
    has_strings = any(mention.string is not None for mention in mentions)
    for way in ways:
        if way.note and not has_strings:
            return None
        spans = _locate_all(text, mentions, way)
        if spans is not None:
            return spans, (way.note,) * len(mentions) if way.note else ()
    return None


def _ways(text: str, extra: int) -> Iterator[Way]:
    """The ways to count; first the one that needs no correction."""
    yield Way("", list(range(len(text) + 1)), extra)
    for note, characters in _countings(text):
        for more in (extra, 1 - extra):
            yield Way(note or Warnings.W204, characters, more)


def _countings(text: str) -> Iterator[tuple[str, list[int]]]:
    """The ways to count: a note, and the character of each unit, then the end."""
    end = len(text)
    yield "", list(range(end + 1))
    if "\r" in text:
        yield Warnings.W203, [*(i for i, c in enumerate(text) if c != "\r"), end]
    elif "\n" in text:
        yield Warnings.W203, _repeat(text, [1 + (c == "\n") for c in text])
    if text.startswith(BOM):
        yield Warnings.W204, list(range(1, end + 1))
    if not text.isascii():
        yield Warnings.W204, _repeat(text, [1 + (c > "\uffff") for c in text])
        sizes = [len(c.encode("utf-8", "surrogatepass")) for c in text]
        yield Warnings.W204, _repeat(text, sizes)


def _repeat(text: str, sizes: list[int]) -> list[int]:
    """The character of each unit, where character i has `sizes[i]` units."""
    return [i for i, size in enumerate(sizes) for _ in range(size)] + [len(text)]


def _locate_all(
    text: str, mentions: Sequence[SourceMention], way: Way
) -> tuple[CharSpan, ...] | None:
    """The spans of all mentions in one way to count; None if one does not fit."""
    spans: list[CharSpan] = []
    for mention in mentions:
        span = _locate(way.characters, mention, way.extra)
        is_exact = bool(way.note)
        if span is None or not _fits(text, span, mention, exactly=is_exact):
            return None
        spans.append(span)
    return tuple(spans)


def _locate(
    characters: list[int], mention: SourceMention, extra: int
) -> CharSpan | None:
    """The span of a mention; None if it is not within the text."""
    start, end = mention.start, mention.end + extra
    if not 0 <= start < end < len(characters):
        return None
    return characters[start], characters[end - 1] + 1, mention.label


def _fits(
    text: str, span: CharSpan, mention: SourceMention, *, exactly: bool = False
) -> bool:
    """Whether a span has the mention's string.

    If it must fit exactly, the blanks at the edges must be there in both.
    """
    if mention.string is None:
        return True
    found = text[span[0] : span[1]]
    same_edges = found[0].isspace() == mention.string[:1].isspace() and (
        found[-1].isspace() == mention.string[-1:].isspace()
    )
    return same_string(found, mention.string) and (same_edges or not exactly)


def _problem(text: str, mentions: Sequence[SourceMention], *, extra: int) -> str:
    """Describe the first mention that does not fit."""
    for mention in mentions:
        span = mention.start, mention.end + extra, mention.label
        if problem := span_problem(text, (*span[:2], mention.label or "-")):
            return problem
        if not _fits(text, span, mention):
            offsets = f"{mention.start}-{mention.end}"
            found = text[span[0] : span[1]]
            return f"the text at {offsets} is {found!r}, not {mention.string!r}"
    raise AssertionError("all mentions fit")
