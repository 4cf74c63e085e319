"""Take marks from mentions that they do not belong to: `*Berlin*`, `★ Berlin`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spacy_padellm.text.align import AlignedMention

_PAIRS = tuple(zip("*_~|`\"'“„‘«‹([{<", "*_~|`\"'”“’»›)]}>", strict=True))
_CLOSING = dict(_PAIRS)
_OPENING = {closing: opening for opening, closing in _PAIRS}


def without_marks(
    mentions: Sequence[AlignedMention], text: str
) -> list[AlignedMention]:
    """Remove single marks of a pair, and marks that are mentions of their own.

    A mention loses a mark at its edge if the other one of the pair is right outside of
    its other edge. A mention without letters and digits is left out next to one of its
    label that has some.

    mentions (Sequence[AlignedMention]): The mentions of one text. Those that were
        dropped stay as they are.
    text (str): The text.
    RETURNS (list[AlignedMention]): In the same order.
    """
    trimmed = [_trimmed(mention, text) for mention in mentions]
    marks = [mention for mention in trimmed if _is_of_marks(mention, text)]
    if not marks:
        return trimmed
    edges = {
        (mention.mention.label, edge)
        for mention in trimmed
        if mention not in marks
        for edge in (mention.start, mention.end)
    }
    stray = [mention for mention in marks if edges & _nearest(mention, text)]
    return [mention for mention in trimmed if mention not in stray]


def _trimmed(mention: AlignedMention, text: str) -> AlignedMention:
    start, end = mention.start, mention.end
    if start is None or end is None or end - start < 2:
        return mention
    closing, opening = _CLOSING.get(text[start]), _OPENING.get(text[end - 1])
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    if closing and closing == after and closing not in text[start + 1 : end]:
        return replace(mention, start=start + 1)
    if opening and opening == before and opening not in text[start : end - 1]:
        return replace(mention, end=end - 1)
    return mention


def _is_of_marks(mention: AlignedMention, text: str) -> bool:
    found = text[mention.start : mention.end] if mention.start is not None else ""
    return bool(found) and not any(map(str.isalnum, found))


def _nearest(mention: AlignedMention, text: str) -> set[tuple[str, int | None]]:
    """Its label with the edges of its neighbours, with only whitespace between."""
    label = mention.mention.label
    before = len(text[: mention.start].rstrip())
    after = len(text) - len(text[mention.end :].lstrip())
    return {(label, before), (label, after)}
