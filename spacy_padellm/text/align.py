"""Alignment of generated mentions to character offsets of the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from unicodedata import category, normalize

from spacy_padellm.mention.mention import Mention, Status
from spacy_padellm.mention.occurrences import find_all
from spacy_padellm.text.normalize import (
    GUILLEMETS,
    SOFT_HYPHEN,
    compose,
    is_space,
    normalize_characters,
    normalize_text,
    remove_spaces,
)
from spacy_padellm.text.opening import ends_of_opening

# Start and end (exclusive) of an occurrence, in characters of the text
_Offsets = tuple[int, int]

# least score of a mention inside which shorter mentions are avoided
_LIKELY = 0.5
_MARK_AND_SPACE = re.compile(r"(?:[^\w\s.]|_|\.{3}) | _")


@dataclass(frozen=True, slots=True)
class AlignedMention:
    """A mention and its offsets in the text.

    mention (Mention): The mention.
    start (int | None): Offset of its first character; None if dropped.
    end (int | None): Offset after its last character; None if dropped.
    status (Status): "exact": the text has the same string; "normalised": the text has
        the string with another Unicode form, case or whitespace; "dropped": the text
        does not have the string, or has it less often than it is mentioned.
    """

    mention: Mention
    start: int | None
    end: int | None
    status: Status


def align(
    mentions: Sequence[Mention],
    text: str,
    *,
    starts: Collection[int],
    ends: Collection[int],
) -> list[AlignedMention]:
    """Find the characters that generated mentions refer to.

    Mentions with the same label and string are assigned, by their index, to the
    occurrences of the string that do not overlap: first to those that are whole tokens,
    in text order, then to the others, in text order. If there are more whole-token
    occurrences than mentions, those inside longer, likely mentions come last. Mentions
    with different labels or strings may get the same characters.

    Occurrences are searched for in this order; the first search that succeeds counts:
    1. in the text as the model sees it (see `normalize_text`);
    2. ignoring Unicode normalization (NFKC), case and the length of whitespace, with
       guillemets as quotation marks;
    3. ignoring whitespace too; for a string with a space after a mark, which the model
       may have read where the text has none, together with search 2.

    In searches 2 and 3, an occurrence does not begin or end with whitespace, or between
    a character and its combining marks. An exact occurrence has whitespace at its edge
    only where the string has it.

    mentions (Sequence[Mention]): The mentions of one text.
    text (str): The text.
    starts (Collection[int]): The offsets at which tokens of the text start.
    ends (Collection[int]): The offsets at which they end (exclusive).
    RETURNS (list[AlignedMention]): One for each mention, in input order.
    """
    aligned = [AlignedMention(mention, None, None, "dropped") for mention in mentions]
    groups: dict[str, dict[str, list[int]]] = {}
    for i, mention in enumerate(mentions):
        if remove_spaces(mention.text):
            by_label = groups.setdefault(mention.text, {})
            by_label.setdefault(mention.label, []).append(i)
    source = _SearchedText(text)
    token_starts = frozenset(starts)
    token_ends = frozenset(ends)
    likely: list[_Offsets] = []
    for _, strings in groupby(sorted(groups, key=len, reverse=True), key=len):
        longer = _Intervals(likely)
        for string in strings:
            occurrences = source.find(string)
            whole, others = _split_occurrences(occurrences, token_starts, token_ends)
            whole.sort(key=longer.cover)
            for indices in groups[string].values():
                indices.sort(key=lambda i: mentions[i].index)
                assigned = sorted(whole[: len(indices)]) + others
                # mentions without an occurrence remain dropped
                for i, (start, end) in zip(indices, assigned, strict=False):
                    exact = text[start:end] == string
                    status: Status = "exact" if exact else "normalised"
                    aligned[i] = AlignedMention(mentions[i], start, end, status)
                    if mentions[i].score >= _LIKELY:
                        likely.append((start, end))
    return aligned


def _split_occurrences(
    occurrences: Sequence[_Offsets], starts: Collection[int], ends: Collection[int]
) -> tuple[list[_Offsets], list[_Offsets]]:
    """Split the occurrences of a string into whole tokens and others.

    occurrences (Sequence[_Offsets]): All occurrences in text order; they may overlap.
    starts (Collection[int]): The offsets at which tokens start.
    ends (Collection[int]): The offsets at which they end (exclusive).
    RETURNS (tuple[list[_Offsets], list[_Offsets]]): Whole tokens, and the others, both
        in text order. None of them overlap.
    """
    whole: list[_Offsets] = []
    reached = 0
    for start, end in occurrences:
        if start >= reached and start in starts and end in ends:
            whole.append((start, end))
            reached = end
    others: list[_Offsets] = []
    reached = 0
    following = 0
    for start, end in occurrences:
        while following < len(whole) and whole[following][1] <= start:
            following += 1
        free = following == len(whole) or end <= whole[following][0]
        if free and start >= reached:
            others.append((start, end))
            reached = end
    return whole, others


class _Intervals:
    """Intervals of the text, to check what is inside one of them."""

    def __init__(self, intervals: Iterable[_Offsets]) -> None:
        ordered = sorted(intervals)
        self._starts = [start for start, _ in ordered]
        # the largest end among the intervals up to this one
        self._ends = list(accumulate((end for _, end in ordered), max))

    def cover(self, offsets: _Offsets) -> bool:
        """Whether one of the intervals covers these offsets."""
        count = bisect_right(self._starts, offsets[0])
        return count > 0 and self._ends[count - 1] >= offsets[1]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Characters that normalize together, and their normal form without whitespace.

    form (str): Normal form; empty for whitespace.
    start (int): Offset of the first character in the source.
    end (int): Offset after the last character in the source.
    """

    form: str
    start: int
    end: int


class _NormalizedText:
    """A normalised string that maps offsets back to its source.

    chunks (Sequence[_Chunk]): The chunks of the source.
    space (str): Replaces each run of whitespace; whitespace at the edges is removed.
    """

    def __init__(self, chunks: Sequence[_Chunk], *, space: str) -> None:
        forms: list[str] = []
        # Normalised offset at which a chunk starts or ends -> offset in the source
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        length = 0
        after_space = False
        for chunk in chunks:
            if not chunk.form:
                after_space = True
                continue
            if after_space and forms:
                forms.append(space)
                length += len(space)
            after_space = False
            self._starts[length] = chunk.start
            forms.append(chunk.form)
            length += len(chunk.form)
            self._ends[length] = chunk.end
        self.text = "".join(forms)

    def find(self, string: str) -> list[_Offsets]:
        """All occurrences of a normalised string, as offsets of the source.

        string (str): The string, not empty, in the normal form of `self.text`.
        RETURNS (list[_Offsets]): Those that start and end with a chunk, in text order.
        """
        return [
            (self._starts[start], self._ends[start + len(string)])
            for start in find_all(self.text, string)
            if start in self._starts and start + len(string) in self._ends
        ]


class _SearchedText:
    """A text to search, normalised once and only if needed."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _is_normalized(self) -> bool:
        return normalize_characters(self._text) == self._text

    @cached_property
    def _has_opening_marks(self) -> bool:
        return any(True for _ in ends_of_opening(self._text))

    @cached_property
    def _chunks(self) -> list[_Chunk]:
        return _split(self._text)

    @cached_property
    def _with_spaces(self) -> _NormalizedText:
        return _NormalizedText(self._chunks, space=" ")

    @cached_property
    def _without_spaces(self) -> _NormalizedText:
        return _NormalizedText(self._chunks, space="")

    def find(self, string: str) -> list[_Offsets]:
        """All occurrences of a string by the first search that succeeds; see `align`.

        string (str): The string, more than whitespace.
        RETURNS (list[_Offsets]): In text order; they may overlap.
        """
        size = len(string)
        exact = [(start, start + size) for start in find_all(self._text, string)]
        # the text may have the string with and without a space after its marks
        opened = self._has_opening_marks and _MARK_AND_SPACE.search(string)
        if exact and self._is_normalized and not opened:
            return exact
        chunks = _split(string)
        similar = self._with_spaces.find(_NormalizedText(chunks, space=" ").text)
        if opened:
            unspaced = _NormalizedText(chunks, space="").text
            similar = sorted({*similar, *self._without_spaces.find(unspaced)})
        same = [(a, b) for a, b in similar if normalize_text(self._text[a:b]) == string]
        if exact or same:
            return sorted({*exact, *same})
        return similar or self._without_spaces.find(
            _NormalizedText(chunks, space="").text
        )


def _split(text: str) -> list[_Chunk]:
    """Cut a text into the smallest pieces that normalize independently."""
    chunks = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not _continues(text, start, end):
            chunks.append(_Chunk(_normal_form(text[start:end]), start, end))
            start = end
    return chunks


def _continues(text: str, start: int, i: int) -> bool:
    """Whether the character at `i` belongs to the chunk that begins at `start`."""
    char = text[i]
    # A mark after whitespace is a chunk of its own: no chunk begins with whitespace
    if char.isascii() or is_space(text[start]):
        return False
    if char == SOFT_HYPHEN:
        return True
    # Decomposed, because half-width Japanese voicing marks are letters by category
    if category(normalize("NFKD", char)[0]).startswith("M"):
        return True
    # Hangul jamo compose without being marks
    chunk = text[start:i]
    apart = compose(chunk, "NFKC") + normalize("NFKC", char)
    return compose(chunk + char, "NFKC") != apart


def _normal_form(chunk: str) -> str:
    """Normalise the Unicode form and case, and remove whitespace."""
    # Again after folding: "ΐ" folds to three characters, its capital form to two
    form = compose(compose(chunk.translate(GUILLEMETS), "NFKC").casefold(), "NFKC")
    return remove_spaces(form)
