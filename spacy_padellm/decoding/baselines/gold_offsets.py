"""Finds the offsets of gold mentions, of which only the strings are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.mention.occurrences import find_all


@dataclass(frozen=True, slots=True)
class MentionOffsets:
    """The character offsets of a gold mention, and its label."""

    start: int
    end: int
    label: str


def locate_gold(
    text: str, mentions: Mapping[str, Sequence[str]]
) -> list[MentionOffsets]:
    """Find gold mentions in their text.

    A string may occur in the text more often than it is a mention. The occurrence is
    chosen by these preferences, the most important first: it does not overlap mentions
    located before; it comes after the label's mention before; it is not inside a longer
    mention; it consists of whole words; it is the first one.

    text (str): The text.
    mentions (Mapping[str, Sequence[str]]): Label -> mention strings in text order.
    RETURNS (list[MentionOffsets]): One for each mention that occurs in the text, by
        label.
    """
    strings = {
        mention for label_mentions in mentions.values() for mention in label_mentions
    }
    drawbacks = {string: _drawbacks(text, string, strings) for string in strings}
    located: list[MentionOffsets] = []
    for label, label_mentions in mentions.items():
        reached = 0
        for mention in label_mentions:
            size = len(mention)
            ranked = [
                (
                    _overlaps(located, start, start + size),
                    start < reached,
                    drawback,
                    start,
                )
                for start, drawback in drawbacks[mention].items()
            ]
            if ranked:
                *_, start = min(ranked)
                located.append(MentionOffsets(start, start + size, label))
                reached = start + 1
    return located


def outermost(mentions: Iterable[MentionOffsets]) -> Iterator[MentionOffsets]:
    """Select mentions that do not overlap, in text order.

    Of nested mentions the outermost is kept, of others that overlap the first, of equal
    ones the first in the input.

    mentions (Iterable[MentionOffsets]): The mentions.
    YIELDS (MentionOffsets): Those that are kept.
    """
    reached = 0
    for mention in sorted(mentions, key=lambda mention: (mention.start, -mention.end)):
        if mention.start >= reached:
            yield mention
            reached = mention.end


def _drawbacks(
    text: str, string: str, others: Iterable[str]
) -> dict[int, tuple[bool, bool]]:
    """For each offset of a string: is it in a longer one, and does it cut a word?"""
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


def _overlaps(mentions: Iterable[MentionOffsets], start: int, end: int) -> bool:
    return any(mention.start < end and start < mention.end for mention in mentions)


def _cuts_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
