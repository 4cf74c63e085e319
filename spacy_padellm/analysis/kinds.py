"""Kinds of errors; every gold and every generated mention has exactly one kind."""

from __future__ import annotations

import sys
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
    "correct": "same characters, label and index as a gold mention; a mention that "
    "the tags of the text alone found has no index, and needs none",
    "index": "same characters and label as a gold mention, but its index is not the "
    "gold mention's position among those of the label in text order",
    "label": "same characters as a gold mention of another label (that mention may "
    "also be generated; de-duplication then chooses one)",
    "boundary": "overlaps a gold mention of its label, but has other boundaries",
    "repeat": "same characters as a mention of its label with a lower index, or a "
    "string that is generated more often than it occurs in the text",
    "invented": "the string is not in the text, or it is empty or only whitespace",
    "spurious": "none of these: it is in the text, but is not a gold mention",
}
"""Kinds of generated mentions. If several apply, the first one counts of: repeat,
invented, correct, index, label, boundary, spurious."""

GOLD_KINDS: dict[Kind, str] = {
    "correct": "generated with its own index, or found by the tags of the text alone",
    "index": "generated with another index",
    "label": "not generated, but its characters are, with another, wrong label",
    "boundary": "not generated, but a wrong mention of its label overlaps it",
    "missed": "none of these",
}
"""Kinds of gold mentions. If several apply, the first one in this order counts."""

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
    """A gold mention, with character offsets in the window's or the Doc's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class WindowCase:
    """A window with its gold mentions and the mentions that the model generated.

    text (str): The window's text.
    tokens (Sequence[TokenOffsets]): Start and end of each token.
    golds (Sequence[GoldMention]): The gold mentions in the window.
    mentions (Sequence[Mention]): The generated mentions, before de-duplication and
        alignment.
    start_range (tuple[int, int]): Offsets in the text, the second one exclusive: as in
        the pipe, mentions that start elsewhere are another window's.
    elsewhere (frozenset[GoldMention]): The gold mentions that are another window's.
    cut (frozenset[GoldMention]): The parts, in the window, of gold mentions that its
        edges cut. To generate them is neither right nor wrong.
    """

    text: str
    tokens: Sequence[TokenOffsets]
    golds: Sequence[GoldMention]
    mentions: Sequence[Mention]
    start_range: tuple[int, int] = (0, sys.maxsize)
    elsewhere: frozenset[GoldMention] = frozenset()
    cut: frozenset[GoldMention] = frozenset()

    def starts_here(self, start: int) -> bool:
        """Whether mentions that start at an offset in the text are this window's."""
        return self.start_range[0] <= start < self.start_range[1]


@dataclass(frozen=True, slots=True)
class JudgedMention:
    """A generated mention with its alignment and its kind.

    gold (GoldMention | None): The gold mention that the kind refers to.
    """

    aligned: AlignedMention
    kind: Kind
    gold: GoldMention | None = None


@dataclass(frozen=True, slots=True)
class JudgedGold:
    """A gold mention and its kind.

    found (JudgedMention | None): The generated mention that the kind refers to.
    """

    gold: GoldMention
    kind: Kind
    found: JudgedMention | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The mentions of a window with their kinds.

    mentions (list[JudgedMention]): One per generated mention, in input order.
    golds (list[JudgedGold]): One per gold mention, in text order; duplicates with the
        same offsets and label are merged. Parts of gold mentions that the window cuts
        are among them if they were generated.
    """

    mentions: list[JudgedMention]
    golds: list[JudgedGold]


def judge(case: WindowCase) -> Judgement:
    """Classify a window's mentions; see `PREDICTED_KINDS` and `GOLD_KINDS`.

    case (WindowCase): The window.
    """
    aligned = align(
        case.mentions,
        case.text,
        starts={start for start, _ in case.tokens},
        ends={end for _, end in case.tokens},
    )
    placed = {
        GoldMention(found.start, found.end, found.mention.label)
        for found in aligned
        if found.start is not None and found.end is not None
    }
    golds = sorted({*case.golds, *(case.cut & placed)})
    repeats = _find_repeats(aligned)
    indexes = _number_golds(golds)
    judged = [
        JudgedMention(found, "repeat") if i in repeats else _classify(found, indexes)
        for i, found in enumerate(aligned)
    ]
    return Judgement(judged, _classify_golds(golds, judged))


def own_part(judgement: Judgement, case: WindowCase) -> Judgement:
    """The mentions of a window that no overlapping window counts, too.

    The parts of mentions that the window cuts are not among them.
    Generated mentions without offsets are those of each window that generated them.

    judgement (Judgement): All mentions of the window.
    case (WindowCase): The window.
    """

    def is_own(found: JudgedMention) -> bool:
        start, gold = found.aligned.start, found.gold
        if gold in case.cut and found.kind in ("correct", "index"):
            return False
        if start is None or case.starts_here(start):
            return True
        # a gold mention that the window before cuts
        late = gold is not None and not case.starts_here(gold.start)
        return late and gold not in not_own

    not_own = case.elsewhere | case.cut
    return Judgement(
        [found for found in judgement.mentions if is_own(found)],
        [judged for judged in judgement.golds if judged.gold not in not_own],
    )


def _find_repeats(aligned: Sequence[AlignedMention]) -> set[int]:
    """Find the mentions that repeat one of their label with a lower index."""
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
            # mentions with lower indexes took all occurrences of the string
            if (found.mention.label, found.mention.text) in placed:
                repeats.add(i)
        elif key in seen:
            repeats.add(i)
        seen.add(key)
    return repeats


def _number_golds(golds: Iterable[GoldMention]) -> dict[GoldMention, int]:
    """Number the gold mentions of each label, from 1."""
    counts: dict[str, int] = {}
    indexes = {}
    for gold in golds:
        counts[gold.label] = counts.get(gold.label, 0) + 1
        indexes[gold] = counts[gold.label]
    return indexes


def _classify(found: AlignedMention, indexes: dict[GoldMention, int]) -> JudgedMention:
    if found.start is None or found.end is None:
        return JudgedMention(found, "invented")
    mention = found.mention
    same = GoldMention(found.start, found.end, mention.label)
    if same in indexes:
        right = mention.by_tags or indexes[same] == mention.index
        return JudgedMention(found, "correct" if right else "index", same)
    for gold in indexes:
        if (gold.start, gold.end) == (found.start, found.end):
            return JudgedMention(found, "label", gold)
    shared = {
        gold: _overlap_length((gold.start, gold.end), (found.start, found.end))
        for gold in indexes
        if gold.label == mention.label
    }
    nearest = max(shared, key=shared.__getitem__, default=None)
    if nearest is not None and shared[nearest]:
        return JudgedMention(found, "boundary", nearest)
    return JudgedMention(found, "spurious")


def _classify_golds(
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
        offsets = (gold.start, gold.end)
        if gold in right:
            result.append(JudgedGold(gold, right[gold].kind, right[gold]))
            continue
        # no wrong mention has both the offsets and the label of a gold mention
        same = [found for other, found in wrong if other == offsets]
        near = [
            (_overlap_length(offsets, other), found)
            for other, found in wrong
            if found.aligned.mention.label == gold.label
            and _overlap_length(offsets, other)
        ]
        if same:
            result.append(JudgedGold(gold, "label", same[0]))
        elif near:
            nearest = max(near, key=lambda pair: pair[0])[1]
            result.append(JudgedGold(gold, "boundary", nearest))
        else:
            result.append(JudgedGold(gold, "missed"))
    return result


def _overlap_length(first: TokenOffsets, second: TokenOffsets) -> int:
    """The number of characters that two ranges share."""
    return max(0, min(first[1], second[1]) - max(first[0], second[0]))
