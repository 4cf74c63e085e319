"""De-duplication of mentions between labels, and the choice of flat spans."""

from __future__ import annotations

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
    """Keep each string for one label only (paper, section 3.3).

    A label's score for a string is the highest score of its mentions with that string.
    The label that keeps the string keeps all its mentions of it: they are different
    occurrences. If scores are equal, the label whose mention comes first in the input
    keeps the string. Strings are compared exactly, including case and whitespace.

    mentions (Sequence[Mention]): The mentions of one text, of all labels.
    mode (Dedup): "on": the label with the highest score keeps the string; "reversed":
        the label with the lowest (ablation); "off": all of them.
    counts (Callable[[Mention], bool]): Whether a mention is likely enough to compete.
    RETURNS (list[Mention]): The mentions that are kept, in input order.
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
    # max and min return the first of equal labels, and a dict keeps the input's order
    keeper = {text: pick(by, key=by.__getitem__) for text, by in scores.items()}
    return [m for m in mentions if keeper.get(m.text, m.label) == m.label]


def choose_flat(spans: Sequence[ScoredSpan]) -> list[ScoredSpan]:
    """Choose spans that do not overlap, the most probable first.

    If scores are equal, the longer span is chosen first, then the one that starts
    earlier, then the one whose label sorts first.

    spans (Sequence[ScoredSpan]): Spans of one text.
    RETURNS (list[ScoredSpan]): The chosen spans, in text order.
    """
    taken = bytearray(max((span.end for span in spans), default=0))  # by character
    selected = []
    for span in sorted(spans, key=_preference):
        if taken.find(1, span.start, span.end) < 0:
            taken[span.start : span.end] = b"\1" * (span.end - span.start)
            selected.append(span)
    return sorted(selected, key=lambda span: span.start)


def _preference(span: ScoredSpan) -> tuple[float, int, int, str]:
    """Sort key of the flat choice: the preferred span sorts first."""
    return -span.score, span.start - span.end, span.start, span.label
