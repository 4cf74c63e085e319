"""Where gold mentions stand in their text, of which only the strings are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.mention.occurrences import find_all


@dataclass(frozen=True, slots=True)
class MentionOffsets:
    """The characters of a gold mention."""

    start: int
    end: int
    label: str


def place_gold(
    text: str, mentions: Mapping[str, Sequence[str]]
) -> list[MentionOffsets]:
    """Find gold mentions in their text.

    A string may stand in the text more often than it is a mention. Chosen is, in this
    order of preference: a place clear of the mentions placed before, one after the
    label's mention before, one outside longer mentions that hold the string, one of
    whole words, the first one.

    text (str): The text.
    mentions (Mapping[str, Sequence[str]]): Label -> mention strings in text order.
    RETURNS (list[MentionOffsets]): One for each mention that the text has, by label.
    """
    strings = {
        mention for label_mentions in mentions.values() for mention in label_mentions
    }
    drawbacks = {string: _drawbacks(text, string, strings) for string in strings}
    places: list[MentionOffsets] = []
    for label, label_mentions in mentions.items():
        reached = 0
        for mention in label_mentions:
            size = len(mention)
            ranked = [
                (
                    _overlaps(places, start, start + size),
                    start < reached,
                    drawback,
                    start,
                )
                for start, drawback in drawbacks[mention].items()
            ]
            if ranked:
                *_, start = min(ranked)
                places.append(MentionOffsets(start, start + size, label))
                reached = start + 1
    return places


def outermost(places: Iterable[MentionOffsets]) -> Iterator[MentionOffsets]:
    """Places that do not overlap, in text order.

    Of nested ones the outermost is kept, of others that overlap the first, of equal
    ones the first given.
    """
    reached = 0
    for place in sorted(places, key=lambda place: (place.start, -place.end)):
        if place.start >= reached:
            yield place
            reached = place.end


def _drawbacks(
    text: str, string: str, others: Iterable[str]
) -> dict[int, tuple[bool, bool]]:
    """Whether each place of a string is inside a longer one, and cuts a word."""
    longer = [
        (start, start + len(other))
        for other in others
        if len(other) > len(string) and string in other
        for start in find_all(text, other)
    ]
    drawbacks = {}
    for start in find_all(text, string):
        end = start + len(string)
        inside = any(a <= start and end <= b for a, b in longer)
        drawbacks[start] = (inside, _cuts_word(text, start) or _cuts_word(text, end))
    return drawbacks


def _overlaps(places: Iterable[MentionOffsets], start: int, end: int) -> bool:
    return any(place.start < end and start < place.end for place in places)


def _cuts_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
