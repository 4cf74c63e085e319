"""Examples of each kind of error: the likeliest mentions, the worst counts."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.analysis.kinds import (
    HEADINGS,
    JudgedGold,
    JudgedMention,
    Judgement,
    WindowCase,
)
from spacy_padellm.analysis.tally import label_counts

EXAMPLE_TITLES = {
    "count too low": "Count too low",
    "count too high": "Count too high",
    "index": "Right, but under another index",
    "repeat": "Repeats of another index",
    "label": "Right characters, other label",
    "boundary": "Boundary errors",
    "invented": "Not in the text",
    "spurious": "Spurious",
    "missed": "Missed",
}
"""What there are examples of, and how the page calls it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A window with an error.

    case (WindowCase): The window.
    judgement (Judgement): Its mentions with their kinds.
    note (str): What is wrong.
    weight (float): How telling it is: of a generated mention its score, of a count how
        wrong it is.
    """

    case: WindowCase
    judgement: Judgement
    note: str
    weight: float = 0.0


@dataclass(slots=True)
class Examples:
    """The most telling examples of each kind; among equals those that came first.

    limit (int): How many to keep of each.
    kept (dict[str, list[Example]]): By the keys of `EXAMPLE_TITLES`.
    """

    limit: int
    kept: dict[str, list[Example]] = field(
        default_factory=lambda: {kind: [] for kind in EXAMPLE_TITLES}
    )

    def add_window(
        self, case: WindowCase, judgement: Judgement, labels: Sequence[str]
    ) -> None:
        """Add what is wrong with a window.

        labels (Sequence[str]): The labels whose counts are looked at.
        """
        counts = label_counts(case, judgement, labels)
        for label, (gold, found) in counts.items():
            if gold != found:
                kind = "count too low" if found < gold else "count too high"
                note = f"{found} of {label} counted, {gold} in the gold annotation"
                weight = abs(gold - found)
                self._add(kind, Example(case, judgement, note, weight))
        for mention in judgement.mentions:
            if mention.kind != "correct":
                example = Example(
                    case, judgement, _note(mention), mention.aligned.mention.score
                )
                self._add(mention.kind, example)
        for judged in judgement.golds:
            if judged.kind == "missed":
                note = _missed_note(judged, case)
                self._add("missed", Example(case, judgement, note))

    def _add(self, kind: str, example: Example) -> None:
        kept = self.kept[kind]
        insort(kept, example, key=lambda example: -example.weight)
        del kept[self.limit :]


def describe(found: JudgedMention) -> str:
    """A generated mention with its label, index and score."""
    mention = found.aligned.mention
    return f"“{mention.text}” ({mention.label} {mention.index}, {mention.score:.2f})"


def _note(found: JudgedMention) -> str:
    note = f"{describe(found)}: {HEADINGS[found.kind]}"
    if found.gold is None or found.kind == "index":
        return note
    return f"{note}; gold: {found.gold.label}"


def _missed_note(judged: JudgedGold, case: WindowCase) -> str:
    gold = judged.gold
    return f"“{case.text[gold.start : gold.end]}” ({gold.label}): missed"
