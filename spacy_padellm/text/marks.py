"""Take marks from mentions that they do not belong to: `*Berlin*`, `★ Berlin`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from unicodedata import category

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.normalize import is_space

_PAIRS = tuple(zip("*_~|`\"'“„‘«‹([{<", "*_~|`\"'”“’»›)]}>", strict=True))
_CLOSING = dict(_PAIRS)
_OPENING = {closing: opening for opening, closing in _PAIRS}
# of lists; other symbols, such as emoji and those of currencies, can be names
_BULLETS = "★☆●○■□▪►▶✓✔"


def without_marks(spans: Sequence[ScoredSpan], text: str) -> list[ScoredSpan]:
    """Remove single marks of a pair, and marks that are mentions of their own.

    A mention loses a mark at its edge if the other one of the pair is right outside of
    its other edge. A mention of one punctuation mark, which may be repeated, is left
    out next to a mention of its label with letters or digits, inside one, and
    between letters or digits, as in "Lyon-Turin".

    spans (Sequence[ScoredSpan]): The mentions of a text that are likely enough.
    text (str): The text.
    RETURNS (list[ScoredSpan]): In the same order. Of equal ones, the most likely.
    """
    if all(text[s.start].isalnum() and text[s.end - 1].isalnum() for s in spans):
        return list(spans)
    best: dict[tuple[int, int, str], ScoredSpan] = {}
    for span in (_trimmed(span, text) for span in spans):
        key = span.start, span.end, span.label
        if key not in best or best[key].score < span.score:
            best[key] = span
    names = [
        span
        for span in best.values()
        if any(map(str.isalnum, text[span.start : span.end]))
    ]
    edges = {(s.label, edge) for s in names for edge in (s.start, s.end)}
    of_labels: dict[str, list[ScoredSpan]] = {}
    for span in names:
        of_labels.setdefault(span.label, []).append(span)
    covered = {label: _Cover(mentions) for label, mentions in of_labels.items()}

    def is_left_out(span: ScoredSpan) -> bool:
        return _is_mark(text[span.start : span.end]) and (
            not edges.isdisjoint(_nearest(span, text))
            or _is_between(span, text)
            or (span.label in covered and covered[span.label].holds(span))
        )

    return [span for span in best.values() if not is_left_out(span)]


class _Cover:
    """The parts of a text that mentions cover."""

    def __init__(self, mentions: Sequence[ScoredSpan]) -> None:
        places = sorted((mention.start, mention.end) for mention in mentions)
        self._starts = [start for start, _ in places]
        self._reached = [0, *accumulate((end for _, end in places), max)]

    def holds(self, span: ScoredSpan) -> bool:
        """Whether a span is inside one of the mentions."""
        return span.end <= self._reached[bisect_right(self._starts, span.start)]


def _trimmed(span: ScoredSpan, text: str) -> ScoredSpan:
    start, end = span.start, span.end
    closing, opening = _CLOSING.get(text[start], ""), _OPENING.get(text[end - 1], "")
    # a letter outside of the mark, as in `'Til Tuesday's`, is of the same word
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    closed = after[:1] == closing and not after[1:].isalnum()
    opened = before[-1:] == opening and not before[:-1].isalnum()
    if closing and closed and closing not in text[start + 1 : end]:
        start += 1
        while start < end and is_space(text[start]):
            start += 1
    elif opening and opened and opening not in text[start : end - 1]:
        end -= 1
        while start < end and is_space(text[end - 1]):
            end -= 1
    return span if start == end else replace(span, start=start, end=end)


def _is_mark(string: str) -> bool:
    mark, kind = string[0], category(string[0])
    is_kind = kind[0] == "P" or kind in ("Sm", "Sk") or mark in _BULLETS
    return is_kind and not string.strip(mark)


def _is_between(span: ScoredSpan, text: str) -> bool:
    """Whether a mention of punctuation, not of an operator, is inside a word."""
    before = text[max(span.start - 1, 0) : span.start]
    after = text[span.end : span.end + 1]
    # the accent of a decomposed letter is a character of its own
    is_after_letter = before.isalnum() or (before and category(before)[0] == "M")
    is_punctuation = category(text[span.start])[0] == "P"
    return is_punctuation and bool(is_after_letter) and after.isalnum()


def _nearest(span: ScoredSpan, text: str) -> set[tuple[str, int]]:
    """Its label with the edges of its neighbours, with only whitespace between."""
    before, after = span.start, span.end
    while before and is_space(text[before - 1]):
        before -= 1
    while after < len(text) and is_space(text[after]):
        after += 1
    return {(span.label, before), (span.label, after)}
