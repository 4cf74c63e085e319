"""Alignment of generated strings to character offsets of the text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from unicodedata import category, normalize

from spacy_padellm.mention.mention import Mention, Status
from spacy_padellm.mention.occurrences import find_all
from spacy_padellm.text.normalize import normalize_text

# Start and end (exclusive) of an occurrence, in characters of the text
_Place = tuple[int, int]

# score of a mention that others rather stand outside of
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class AlignedMention:
    """A mention and where it is in the text.

    mention (Mention): The mention.
    start (int | None): Offset of its first character; None if dropped.
    end (int | None): Offset after its last character; None if dropped.
    status (Status): "exact": the text has the string there as it is; "normalised":
        it has the string but for Unicode form, case or blanks; "dropped": not found,
        or mentioned more often than the text has it.
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
    """Find the characters that generated mentions stand for.

    Mentions of equal label and string, ordered by index, go to the occurrences of the
    string, no two of which overlap: first to those that are whole tokens, in text
    order, then to the others, in text order. If there are more whole ones than
    mentions, those inside longer mentions that are likely are left out. An occurrence
    is where the text, as models read it (see `normalize_text`), has the string. A
    string without any is looked for with Unicode form (NFKC), case and the length of
    blanks forgiven, and if that fails too, with all blanks forgiven. Mentions of
    different labels or strings may be given the same characters.

    An occurrence found with differences forgiven neither begins nor ends with a
    blank or inside a character with its combining marks. An exact occurrence has
    a blank at its edge if and only if the string has.

    mentions (Sequence[Mention]): The mentions of one text.
    text (str): The text.
    starts (Collection[int]): The characters at which tokens of the text start.
    ends (Collection[int]): The characters at which they end (exclusive).
    RETURNS (list[AlignedMention]): One for each mention, in input order.
    """
    aligned = [AlignedMention(mention, None, None, "dropped") for mention in mentions]
    groups: dict[str, dict[str, list[int]]] = {}
    for i, mention in enumerate(mentions):
        if mention.text and not mention.text.isspace():
            by_label = groups.setdefault(mention.text, {})
            by_label.setdefault(mention.label, []).append(i)
    source = _SearchedText(text)
    token_starts = frozenset(starts)
    token_ends = frozenset(ends)
    placed: list[_Place] = []
    for _, strings in groupby(sorted(groups, key=len, reverse=True), key=len):
        longer = _Cover(placed)
        for string in strings:
            occurrences = source.find(string)
            whole, others = _part(occurrences, token_starts, token_ends)
            whole.sort(key=longer.covers)
            for members in groups[string].values():
                members.sort(key=lambda i: mentions[i].index)
                places = sorted(whole[: len(members)]) + others
                # Members without a place stay dropped
                for i, (start, end) in zip(members, places, strict=False):
                    exact = text[start:end] == string
                    status: Status = "exact" if exact else "normalised"
                    aligned[i] = AlignedMention(mentions[i], start, end, status)
                    if mentions[i].score >= _LIKELY:
                        placed.append((start, end))
    return aligned


def _part(
    occurrences: Sequence[_Place], starts: Collection[int], ends: Collection[int]
) -> tuple[list[_Place], list[_Place]]:
    """Part the occurrences of a string, and leave out those that overlap others.

    occurrences (Sequence[_Place]): All occurrences in text order; they may overlap.
    starts (Collection[int]): The characters at which tokens start.
    ends (Collection[int]): The characters at which they end (exclusive).
    RETURNS (tuple[list[_Place], list[_Place]]): Whole tokens, and the others, both in
        text order.
    """
    whole: list[_Place] = []
    reached = 0
    for start, end in occurrences:
        if start >= reached and start in starts and end in ends:
            whole.append((start, end))
            reached = end
    others: list[_Place] = []
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


class _Cover:
    """Places, to ask what is inside one of them."""

    def __init__(self, places: Iterable[_Place]) -> None:
        ordered = sorted(places)
        self._starts = [start for start, _ in ordered]
        # the furthest end of those that start no later
        self._ends = list(accumulate((end for _, end in ordered), max))

    def covers(self, place: _Place) -> bool:
        """Whether a place is inside one of them."""
        before = bisect_right(self._starts, place[0])
        return before > 0 and self._ends[before - 1] >= place[1]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Characters that normalise together, and their normal form without blanks.

    form (str): Normal form; empty for a blank.
    start (int): Offset of the first character in the source.
    end (int): Offset after the last character in the source.
    """

    form: str
    start: int
    end: int


class _Normalised:
    """A normalised string with the way back to the offsets of its source.

    chunks (Sequence[_Chunk]): The chunks of the source.
    blank (str): What a run of blanks becomes; none are kept at the edges.
    """

    def __init__(self, chunks: Sequence[_Chunk], *, blank: str) -> None:
        forms: list[str] = []
        # Normalised offset at which a chunk starts or ends -> offset in the source
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        length = 0
        after_blank = False
        for chunk in chunks:
            if not chunk.form:
                after_blank = True
                continue
            if after_blank and forms:
                forms.append(blank)
                length += len(blank)
            after_blank = False
            self._starts[length] = chunk.start
            forms.append(chunk.form)
            length += len(chunk.form)
            self._ends[length] = chunk.end
        self.text = "".join(forms)

    def find(self, string: str) -> list[_Place]:
        """All occurrences of a normalised string, as offsets of the source.

        string (str): The string, not empty, in the normal form of `self.text`.
        RETURNS (list[_Place]): Those that start and end with a chunk, in text order.
        """
        return [
            (self._starts[start], self._ends[start + len(string)])
            for start in find_all(self.text, string)
            if start in self._starts and start + len(string) in self._ends
        ]


class _SearchedText:
    """A text to search, normalised once and only if need be."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _is_normalized(self) -> bool:
        return normalize_text(self._text) == self._text

    @cached_property
    def _chunks(self) -> list[_Chunk]:
        return _split(self._text)

    @cached_property
    def _spaced(self) -> _Normalised:
        return _Normalised(self._chunks, blank=" ")

    @cached_property
    def _solid(self) -> _Normalised:
        return _Normalised(self._chunks, blank="")

    def find(self, string: str) -> list[_Place]:
        """All occurrences of a string, with as little forgiven as will do.

        string (str): The string, not blank.
        RETURNS (list[_Place]): In text order; they may overlap.
        """
        size = len(string)
        exact = [(start, start + size) for start in find_all(self._text, string)]
        if exact and self._is_normalized:
            return exact
        chunks = _split(string)
        found = self._spaced.find(_Normalised(chunks, blank=" ").text)
        read = [(a, b) for a, b in found if normalize_text(self._text[a:b]) == string]
        if exact or read:
            return sorted({*exact, *read})
        return found or self._solid.find(_Normalised(chunks, blank="").text)


def _split(text: str) -> list[_Chunk]:
    """Cut a text into the smallest pieces that normalise independently."""
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
    # A mark after a blank stands alone, so that no chunk begins with a blank
    if char.isascii() or text[start].isspace():
        return False
    # Decomposed, because half-width Japanese voicing marks are letters by category
    if category(normalize("NFKD", char)[0]).startswith("M"):
        return True
    # Hangul jamo compose without being marks
    chunk = text[start:i]
    apart = normalize("NFKC", chunk) + normalize("NFKC", char)
    return normalize("NFKC", chunk + char) != apart


def _normal_form(chunk: str) -> str:
    """Forgive Unicode form and case, and remove blanks."""
    # Again after folding: "ΐ" folds to three characters, its capital form to two
    form = normalize("NFKC", normalize("NFKC", chunk).casefold())
    return "".join(form.split())
