"""Examples of each kind of error: high-scoring mentions and the worst counts."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.analysis.analyze.tally import label_counts
from spacy_padellm.analysis.kinds import (
    HEADINGS,
    JudgedGold,
    JudgedMention,
    Judgement,
    WindowCase,
    own_part,
)

EXAMPLE_TITLES = {
    "count too low": "Count too low",
    "count too high": "Count too high",
    "index": "Correct, but with another index",
    "repeat": "Repeats of another index",
    "label": "Correct characters, other label",
    "boundary": "Boundary errors",
    "invented": "Not in the text",
    "spurious": "Spurious",
    "missed": "Missed",
}
"""Kind of error -> heading on the page."""


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A window with an error.

    case (WindowCase): The window.
    judgement (Judgement): The kinds of its mentions.
    note (str): A description of the error.
    weight (float): Its rank: the score of a generated mention, or the difference
        between a generated and a gold count.
    """

    case: WindowCase
    judgement: Judgement
    note: str
    weight: float = 0.0


@dataclass(slots=True)
class ErrorExamples:
    """The examples with the highest weight of each kind; the first ones on a tie.

    limit (int): The maximum number of examples per kind.
    kept (dict[str, list[ErrorExample]]): Key of `EXAMPLE_TITLES` -> examples.
    """

    limit: int
    kept: dict[str, list[ErrorExample]] = field(
        default_factory=lambda: {kind: [] for kind in EXAMPLE_TITLES}
    )

    def add_window(
        self, case: WindowCase, judgement: Judgement, labels: Sequence[str]
    ) -> None:
        """Add the errors of a window, without those of mentions of another window.

        case (WindowCase): The window.
        judgement (Judgement): The kinds of its mentions.
        labels (Sequence[str]): The labels whose counts are compared.
        """
        counts = label_counts(case, judgement, labels)
        for label, (gold, generated) in counts.items():
            if gold != generated:
                kind = "count too low" if generated < gold else "count too high"
                note = f"{label}: count {generated}, gold count {gold}"
                weight = abs(gold - generated)
                self._add(kind, ErrorExample(case, judgement, note, weight))
        own = own_part(judgement, case)
        for mention in own.mentions:
            if mention.kind != "correct":
                example = ErrorExample(
                    case, judgement, _note(mention), mention.aligned.mention.score
                )
                self._add(mention.kind, example)
        for judged in own.golds:
            if judged.kind == "missed":
                note = _missed_note(judged, case)
                self._add("missed", ErrorExample(case, judgement, note))

    def _add(self, kind: str, example: ErrorExample) -> None:
        kept = self.kept[kind]
        insort(kept, example, key=lambda example: -example.weight)
        del kept[self.limit :]


def describe_mention(found: JudgedMention) -> str:
    """Describe a generated mention by its string, label, index if any, and score."""
    mention = found.aligned.mention
    index = ", by its tags" if mention.by_tags else f" {mention.index}"
    return f"“{mention.text}” ({mention.label}{index}, {mention.score:.2f})"


def _note(found: JudgedMention) -> str:
    note = f"{describe_mention(found)}: {HEADINGS[found.kind]}"
    if found.gold is None or found.kind == "index":
        return note
    return f"{note}; gold: {found.gold.label}"


def _missed_note(judged: JudgedGold, case: WindowCase) -> str:
    gold = judged.gold
    return f"“{case.text[gold.start : gold.end]}” ({gold.label}): missed"
