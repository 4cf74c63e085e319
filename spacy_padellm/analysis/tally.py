"""Totals of an analysis, by label and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spacy_padellm.analysis.kinds import Judgement, Kind, WindowCase

CountOutcome = Literal["right", "too low", "too high"]
COUNT_OUTCOMES: tuple[CountOutcome, ...] = ("right", "too low", "too high")

# score of a final span, and whether it is right
Scored = tuple[float, bool]


@dataclass(slots=True)
class Tally:
    """Totals of one label, or of several.

    predicted, golds (Counter[Kind]): Generated and gold mentions by kind.
    counts (Counter[tuple[int, int]]): Pairs of a window and a label by how many gold
        mentions they have and how many the model gave.
    errors (Counter[tuple[CountOutcome, Kind]]): Generated mentions that are not
        correct and missed gold mentions, by what became of their label's count.
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

    def outcomes(self) -> Counter[CountOutcome]:
        """How many counts are right, too low and too high."""
        outcomes: Counter[CountOutcome] = Counter()
        for (gold, found), pairs in self.counts.items():
            outcomes[count_outcome(gold, found)] += pairs
        return outcomes


@dataclass(slots=True)
class Analysis:
    """Totals of all windows.

    labels (dict[str, Tally]): By label, in the order of the pipe.
    confusions (Counter[tuple[str, str]]): Generated mentions with the characters of a
        gold mention, by its label and theirs, which is the same where they are right.
    windows (int): How many windows were read.
    """

    labels: dict[str, Tally]
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    windows: int = 0

    @classmethod
    def of(cls, labels: Iterable[str]) -> Analysis:
        """An analysis of some labels, still empty."""
        return cls({label: Tally() for label in labels})

    def total(self) -> Tally:
        """The totals of all labels."""
        total = Tally()
        for tally in self.labels.values():
            total.add(tally)
        return total

    def add_window(
        self, case: WindowCase, judgement: Judgement, labels: Sequence[str]
    ) -> None:
        """Add a window.

        labels (Sequence[str]): The labels that are annotated in it, those of all its
            mentions among them.
        """
        self.windows += 1
        counts = label_counts(case, judgement, labels)
        for label, pair in counts.items():
            self.labels[label].counts[pair] += 1
        for found in judgement.mentions:
            label = found.aligned.mention.label
            tally = self.labels[label]
            tally.predicted[found.kind] += 1
            if found.gold is not None and found.kind != "boundary":
                self.confusions[found.gold.label, label] += 1
            if found.kind != "correct":
                tally.errors[count_outcome(*counts[label]), found.kind] += 1
        for judged in judgement.golds:
            label = judged.gold.label
            tally = self.labels[label]
            tally.golds[judged.kind] += 1
            if judged.kind == "missed":
                tally.errors[count_outcome(*counts[label]), "missed"] += 1

    def add_scored(self, label: str, score: float, *, right: bool) -> None:
        """Add a final span."""
        self.labels[label].scored.append((score, right))


def label_counts(
    case: WindowCase, judgement: Judgement, labels: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """For each label how many gold mentions a window has, and how many generated."""
    gold = Counter(judged.gold.label for judged in judgement.golds)
    found = Counter(mention.label for mention in case.mentions)
    return {label: (gold[label], found[label]) for label in labels}


def count_outcome(gold: int, found: int) -> CountOutcome:
    """Whether a count is right.

    gold (int): Number of gold mentions.
    found (int): Number of generated mentions.
    """
    if found == gold:
        return "right"
    return "too low" if found < gold else "too high"
