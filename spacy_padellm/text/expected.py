"""How many mentions a Doc has, and whether some were missed, as the model sees it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spacy.tokens import Doc

from spacy_padellm.mention.mention import ScoredSpan


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """What a decoder knows about the number of mentions in a window.

    start, end (int): The window's characters in its Doc; `end` is exclusive.
    at_least (Mapping[str, Sequence[float]]): See `TextMentions`.
    """

    start: int
    end: int
    at_least: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model expects of a label in a Doc.

    count (float): The expected number of mentions.
    missed (float): The probability that at least one mention was not found, in 0..1.
    """

    count: float
    missed: float


def expect_mentions(
    windows: Sequence[WindowCounts],
    spans: Sequence[ScoredSpan],
    lowest_score: Callable[[str], float],
) -> dict[str, list[float]]:
    """Compute what the model expects of each label.

    A mention was missed in a window if it has more mentions than those that were kept,
    or if a mention that was not kept is right.

    windows (Sequence[WindowCounts]): The counts of the Doc's windows, which may
        overlap. Without a label's counts, only the scores are used.
    spans (Sequence[ScoredSpan]): The mentions of the Doc, with calibrated scores.
    lowest_score (Callable[[str], float]): Returns the threshold of a label. Mentions
        with a lower score were not kept.
    RETURNS (dict[str, list[float]]): Label -> the values of `Expected`.
    """
    kept = Counter(s.label for s in spans if s.score >= lowest_score(s.label))
    count = {s.label: float(kept[s.label]) for s in spans}
    none_missed = {s.label: 1.0 for s in spans}  # probabilities
    known = set()
    # a text of many lines has as many windows as mentions
    spans = sorted(spans, key=lambda span: span.start)
    starts = [span.start for span in spans]
    for window in windows:
        first, end = (
            bisect_left(starts, place) for place in (window.start, window.end)
        )
        inside = spans[first:end]
        for label, at_least in window.at_least.items():
            known.add(label)
            scores = [s.score for s in inside if s.label == label]
            lowest = lowest_score(label)
            unkept = [score for score in scores if score < lowest]
            number = len(scores) - len(unkept)
            unkept += at_least[number : number + 1]
            # what overlapping windows share is kept only once
            count[label] = count.get(label, 0.0) + sum(at_least) - number
            none_missed[label] = none_missed.get(label, 1.0) * (
                1 - max(unkept, default=0.0)
            )
    for s in spans:
        if s.label not in known:
            is_kept = s.score >= lowest_score(s.label)
            count[s.label] += s.score - is_kept
            none_missed[s.label] *= 1.0 if is_kept else 1 - s.score
    return {label: [max(count[label], 0.0), 1 - none_missed[label]] for label in count}


def get_expected(doc: Doc) -> dict[str, Expected]:
    """What the model expects of each label: `doc._.padellm_expected`.

    doc (Doc): The Doc.
    RETURNS (dict[str, Expected]): Label -> the expected number of mentions, and the
        probability that one was missed. Empty if no component wrote mentions to
        `doc.spans`.
    """
    found: dict[str, Expected] = {}
    for group in doc.spans.values():
        for label, values in group.attrs.get("expected", {}).items():
            found.setdefault(label, Expected(*values))
    return found


if not Doc.has_extension("padellm_expected"):
    Doc.set_extension("padellm_expected", getter=get_expected)
