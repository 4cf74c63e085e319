"""Which mentions stand: de-duplication between labels, and the flat choice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Literal

from spacy_padellm.errors import Errors
from spacy_padellm.mention.mention import Mention, ScoredSpan

Dedup = Literal["on", "off", "reversed"]


def deduplicate(
    mentions: Sequence[Mention],
    mode: Dedup = "on",
    *,
    counts: Callable[[Mention], bool] = lambda mention: True,
) -> list[Mention]:
    """Leave each string to one label (paper, section 3.3).

    A label's score for a string is the highest among its repeats of the string.
    The label that keeps the string keeps all its repeats: they are different
    occurrences. Among equal scores the label whose mention comes first in the
    input keeps the string. Strings are compared as they are, case and blanks
    included.

    mentions (Sequence[Mention]): The mentions of one text, of all labels.
    mode (Dedup): "on": the label with the highest score keeps the string;
        "reversed": the one with the lowest (ablation); "off": all of them.
    counts (Callable[[Mention], bool]): Whether a mention is likely enough to compete.
    RETURNS (list[Mention]): The mentions kept, in input order.
    RAISES (ValueError): If the mode is unknown.
    """
    if mode not in ("on", "off", "reversed"):
        raise ValueError(Errors.P301.format(mode=mode))
    if mode == "off":
        return list(mentions)
    scores: dict[str, dict[str, float]] = {}
    for mention in filter(counts, mentions):
        by_label = scores.setdefault(mention.text, {})
        best = by_label.get(mention.label, mention.score)
        by_label[mention.label] = max(best, mention.score)
    pick = max if mode == "on" else min
    # max and min return the first of equals, and a dict keeps the input's order
    keeper = {text: pick(by, key=by.__getitem__) for text, by in scores.items()}
    return [m for m in mentions if keeper.get(m.text, m.label) == m.label]


def choose_flat(spans: Sequence[ScoredSpan]) -> list[ScoredSpan]:
    """Choose spans that do not overlap, the most probable first.

    Among equal scores the longer span is chosen first, then the one that starts
    earlier, then the one whose label sorts first. Takes O(n log n).

    spans (Sequence[ScoredSpan]): Spans of one text.
    RETURNS (list[ScoredSpan]): The spans chosen, in text order.
    """
    starts = sorted({span.start for span in spans})
    ends = sorted({span.end for span in spans})
    begun = _Counter(len(starts))
    over = _Counter(len(ends))
    chosen = []
    for span in sorted(spans, key=_preference):
        # Chosen spans that begin before this one's end, but are not over by its start
        overlapping = begun.below(bisect_left(starts, span.end)) - over.below(
            bisect_right(ends, span.start)
        )
        if overlapping == 0:
            begun.add(bisect_left(starts, span.start))
            over.add(bisect_left(ends, span.end))
            chosen.append(span)
    return sorted(chosen, key=lambda span: span.start)


def _preference(span: ScoredSpan) -> tuple[float, int, int, str]:
    """Sort key of the flat choice: what is chosen first sorts first."""
    return -span.score, span.start - span.end, span.start, span.label


class _Counter:
    """Counts of numbers in 0..size-1 with running sums in O(log n) (Fenwick tree)."""

    def __init__(self, size: int) -> None:
        self._sums = [0] * (size + 1)

    def add(self, number: int) -> None:
        """Count one more of `number`."""
        node = number + 1
        while node < len(self._sums):
            self._sums[node] += 1
            node += node & -node

    def below(self, number: int) -> int:
        """How many numbers less than `number` were added."""
        total = 0
        node = number
        while node > 0:
            total += self._sums[node]
            node -= node & -node
        return total
