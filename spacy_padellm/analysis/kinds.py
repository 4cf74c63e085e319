"""Kinds of errors: every gold and every generated mention falls into exactly one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.align import AlignedMention, align

Kind = Literal[
    "correct",
    "index",
    "label",
    "boundary",
    "repeat",
    "invented",
    "spurious",
    "missed",
]
TokenOffsets = tuple[int, int]

PREDICTED_KINDS: dict[Kind, str] = {
    "correct": "characters, label and index are those of a gold mention",
    "index": "characters and label are those of a gold mention, but the index is not "
    "its place among the label's gold mentions in text order",
    "label": "the characters of a gold mention of another label (which may be found "
    "as well: de-duplication then decides)",
    "boundary": "shares characters with a gold mention of its label, with other edges",
    "repeat": "the characters of a mention of the same label with a lower index, or "
    "its string once more than the text holds it",
    "invented": "the text does not hold the string, or it is blank",
    "spurious": "none of these: the text holds it, but it is no mention",
}
"""Kinds of generated mentions, each of the one that comes first of: repeat, invented,
correct, index, label, boundary, spurious."""

GOLD_KINDS: dict[Kind, str] = {
    "correct": "found under its own index",
    "index": "found under another index",
    "label": "not found, but its characters are, as a wrong mention of another label",
    "boundary": "not found, but a wrong mention of its label shares characters with it",
    "missed": "none of these",
}
"""Kinds of gold mentions, each of the one that comes first in this order."""

HEADINGS: dict[Kind, str] = {
    "correct": "correct",
    "index": "other index",
    "label": "other label",
    "boundary": "boundary",
    "repeat": "repeat",
    "invented": "not in text",
    "spurious": "spurious",
    "missed": "missed",
}


@dataclass(frozen=True, order=True, slots=True)
class GoldMention:
    """A gold mention; places are characters of the window's or the Doc's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class WindowCase:
    """What a model read at once, what it gave, and what it should have given.

    text (str): The window's text.
    tokens (Sequence[TokenOffsets]): Start and end of each token.
    golds (Sequence[GoldMention]): The gold mentions inside.
    mentions (Sequence[Mention]): The generated mentions, neither de-duplicated nor
        aligned.
    """

    text: str
    tokens: Sequence[TokenOffsets]
    golds: Sequence[GoldMention]
    mentions: Sequence[Mention]


@dataclass(frozen=True, slots=True)
class JudgedMention:
    """A generated mention, where `align` puts it, and its kind.

    gold (GoldMention | None): The gold mention that the kind speaks of.
    """

    aligned: AlignedMention
    kind: Kind
    gold: GoldMention | None = None


@dataclass(frozen=True, slots=True)
class JudgedGold:
    """A gold mention and its kind.

    found (JudgedMention | None): The generated mention that the kind speaks of.
    """

    gold: GoldMention
    kind: Kind
    found: JudgedMention | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A window's mentions with their kinds.

    mentions (list[JudgedMention]): One for each generated mention, in input order.
    golds (list[JudgedGold]): One for each gold mention, in text order; the same place
        and label twice is one.
    """

    mentions: list[JudgedMention]
    golds: list[JudgedGold]


def judge(case: WindowCase) -> Judgement:
    """Sort a window's mentions into kinds; see `PREDICTED_KINDS` and `GOLD_KINDS`.

    case (WindowCase): The window.
    """
    golds = sorted(set(case.golds))
    aligned = align(
        case.mentions,
        case.text,
        starts={start for start, _ in case.tokens},
        ends={end for _, end in case.tokens},
    )
    repeats = _repeats(aligned)
    indexes = _indexes(golds)
    judged = [
        JudgedMention(found, "repeat") if i in repeats else _judged(found, indexes)
        for i, found in enumerate(aligned)
    ]
    return Judgement(judged, _judged_golds(golds, judged))


def _repeats(aligned: Sequence[AlignedMention]) -> set[int]:
    """Which mentions say again what a lower index of their label has said."""
    placed = {
        (found.mention.label, found.mention.text)
        for found in aligned
        if found.start is not None
    }
    seen: set[tuple[str, int | None, int | None]] = set()
    repeats = set()
    for i in sorted(range(len(aligned)), key=lambda i: aligned[i].mention.index):
        found = aligned[i]
        key = (found.mention.label, found.start, found.end)
        if found.start is None:
            # the string has places in the text, but lower indexes took them all
            if (found.mention.label, found.mention.text) in placed:
                repeats.add(i)
        elif key in seen:
            repeats.add(i)
        seen.add(key)
    return repeats


def _indexes(golds: Iterable[GoldMention]) -> dict[GoldMention, int]:
    """The place of each gold mention among those of its label, from 1."""
    counts: dict[str, int] = {}
    indexes = {}
    for gold in golds:
        counts[gold.label] = counts.get(gold.label, 0) + 1
        indexes[gold] = counts[gold.label]
    return indexes


def _judged(found: AlignedMention, indexes: dict[GoldMention, int]) -> JudgedMention:
    if found.start is None or found.end is None:
        return JudgedMention(found, "invented")
    mention = found.mention
    same = GoldMention(found.start, found.end, mention.label)
    if same in indexes:
        right = indexes[same] == mention.index
        return JudgedMention(found, "correct" if right else "index", same)
    for gold in indexes:
        if (gold.start, gold.end) == (found.start, found.end):
            return JudgedMention(found, "label", gold)
    shared = {
        gold: _shared((gold.start, gold.end), (found.start, found.end))
        for gold in indexes
        if gold.label == mention.label
    }
    nearest = max(shared, key=shared.__getitem__, default=None)
    if nearest is not None and shared[nearest]:
        return JudgedMention(found, "boundary", nearest)
    return JudgedMention(found, "spurious")


def _judged_golds(
    golds: Iterable[GoldMention], judged: Iterable[JudgedMention]
) -> list[JudgedGold]:
    right: dict[GoldMention, JudgedMention] = {}
    wrong: list[tuple[TokenOffsets, JudgedMention]] = []
    for found in judged:
        start, end = found.aligned.start, found.aligned.end
        if found.kind in ("correct", "index") and found.gold is not None:
            right[found.gold] = found
        elif found.kind != "repeat" and start is not None and end is not None:
            wrong.append(((start, end), found))
    result = []
    for gold in golds:
        place = (gold.start, gold.end)
        if gold in right:
            result.append(JudgedGold(gold, right[gold].kind, right[gold]))
            continue
        # no wrong mention has both the place and the label of a gold mention
        same = [found for other, found in wrong if other == place]
        near = [
            (_shared(place, other), found)
            for other, found in wrong
            if found.aligned.mention.label == gold.label and _shared(place, other)
        ]
        if same:
            result.append(JudgedGold(gold, "label", same[0]))
        elif near:
            nearest = max(near, key=lambda pair: pair[0])[1]
            result.append(JudgedGold(gold, "boundary", nearest))
        else:
            result.append(JudgedGold(gold, "missed"))
    return result


def _shared(first: TokenOffsets, second: TokenOffsets) -> int:
    """How many characters two places share."""
    return max(0, min(first[1], second[1]) - max(first[0], second[0]))
