"""The totals of an analysis, by label and overall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spacy_padellm.analysis.kinds import Judgement, Kind, WindowCase, own_part

CountOutcome = Literal["right", "too low", "too high"]
COUNT_OUTCOMES: tuple[CountOutcome, ...] = ("right", "too low", "too high")

# the score of a final span, and whether it is correct
Scored = tuple[float, bool]


@dataclass(slots=True)
class Tally:
    """The totals of one label or several labels.

    predicted, golds (Counter[Kind]): Generated and gold mentions by kind.
    counts (Counter[tuple[int, int]]): Pairs of a window and a label, by their numbers
        of gold and of generated mentions.
    errors (Counter[tuple[CountOutcome, Kind]]): Wrong generated mentions and missed
        gold mentions, by the outcome of their label's count and by kind.
    scored (list[Scored]): The final spans.
    """

    predicted: Counter[Kind] = field(default_factory=Counter)
    golds: Counter[Kind] = field(default_factory=Counter)
    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    errors: Counter[tuple[CountOutcome, Kind]] = field(default_factory=Counter)
    scored: list[Scored] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another tally's totals."""
        self.predicted.update(other.predicted)
        self.golds.update(other.golds)
        self.counts.update(other.counts)
        self.errors.update(other.errors)
        self.scored.extend(other.scored)

    def is_empty(self) -> bool:
        """Whether there is no gold mention, no prediction and no final span."""
        return not (self.predicted.total() or self.golds.total() or self.scored)

    def outcomes(self) -> Counter[CountOutcome]:
        """The numbers of counts that are right, too low and too high."""
        outcomes: Counter[CountOutcome] = Counter()
        for (gold, generated), pairs in self.counts.items():
            outcomes[count_outcome(gold, generated)] += pairs
        return outcomes


@dataclass(slots=True)
class Analysis:
    """The totals of all windows.

    labels (dict[str, Tally]): By label, in the order of the pipe.
    confusions (Counter[tuple[str, str]]): Generated mentions with the same characters
        as a gold mention, by gold label and generated label.
    windows (int): The number of windows.
    """

    labels: dict[str, Tally]
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    windows: int = 0

    @classmethod
    def of(cls, labels: Iterable[str]) -> Analysis:
        """Make an empty analysis of the given labels."""
        return cls({label: Tally() for label in labels})

    def without_empty(self) -> Analysis:
        """Leave out the labels that neither gold mentions nor predictions have."""
        # the part of a mention that a window cuts is in no tally
        confused = {label for pair in self.confusions for label in pair}
        kept = {
            label: tally
            for label, tally in self.labels.items()
            if label in confused or not tally.is_empty()
        }
        return Analysis(kept, self.confusions, self.windows)

    def total(self) -> Tally:
        """Add up the totals of all labels."""
        total = Tally()
        for tally in self.labels.values():
            total.add(tally)
        return total

    def add_window(
        self, case: WindowCase, judgement: Judgement, labels: Sequence[str]
    ) -> None:
        """Add a window. Its mentions that another one counts are in its counts alone.

        case (WindowCase): The window.
        judgement (Judgement): The kinds of its mentions.
        labels (Sequence[str]): The labels that are annotated in the window; they
            include the labels of all its mentions.
        """
        self.windows += 1
        counts = label_counts(case, judgement, labels)
        for label, pair in counts.items():
            self.labels[label].counts[pair] += 1
        own = own_part(judgement, case)
        for found in own.mentions:
            label = found.aligned.mention.label
            tally = self.labels[label]
            tally.predicted[found.kind] += 1
            if found.gold is not None and found.kind != "boundary":
                self.confusions[found.gold.label, label] += 1
            if found.kind != "correct":
                tally.errors[count_outcome(*counts[label]), found.kind] += 1
        for judged in own.golds:
            label = judged.gold.label
            tally = self.labels[label]
            tally.golds[judged.kind] += 1
            if judged.kind == "missed":
                tally.errors[count_outcome(*counts[label]), "missed"] += 1

    def add_scored(self, label: str, score: float, *, right: bool) -> None:
        """Add a final span.

        label (str): Its label.
        score (float): Its probability, in 0..1.
        right (bool): Whether it is a gold mention.
        """
        self.labels[label].scored.append((score, right))


def label_counts(
    case: WindowCase, judgement: Judgement, labels: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """The number of gold and of generated mentions of each label in a window.

    case (WindowCase): The window.
    judgement (Judgement): The kinds of its mentions.
    labels (Sequence[str]): The labels.
    RETURNS (dict[str, tuple[int, int]]): Label -> the two numbers.
    """
    gold = Counter(judged.gold.label for judged in judgement.golds)
    generated = Counter(mention.label for mention in case.mentions)
    return {label: (gold[label], generated[label]) for label in labels}


def count_outcome(gold: int, generated: int) -> CountOutcome:
    """Compare a generated count with the gold count.

    gold (int): The number of gold mentions.
    generated (int): The number of generated mentions.
    """
    if generated == gold:
        return "right"
    return "too low" if generated < gold else "too high"
