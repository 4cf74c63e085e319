"""The paper's scores (section 4.1): labels and strings count, offsets do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

Strings = Counter[tuple[str, str]]  # label and string of a text's mentions


@dataclass(frozen=True, slots=True)
class StringScore:
    """Counts of mentions.

    right (int): Found and gold.
    found (int): Found.
    gold (int): Gold.
    """

    right: int = 0
    found: int = 0
    gold: int = 0

    def __add__(self, other: StringScore) -> StringScore:
        return StringScore(
            self.right + other.right, self.found + other.found, self.gold + other.gold
        )

    @property
    def precision(self) -> float:
        """The share of the found mentions that are gold; 0 if none were found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of the gold mentions that were found; 0 if there are none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f(self) -> float:
        """The harmonic mean of precision and recall (F1)."""
        p, r = self.precision, self.recall
        return 2 * (p * r / (p + r)) if self.right else 0.0


def score_by_label(texts: Iterable[tuple[Strings, Strings]]) -> dict[str, StringScore]:
    """Score each label.

    texts (Iterable[tuple[Strings, Strings]]): For each text, the strings that were
        found and the gold strings.
    RETURNS (dict[str, StringScore]): Label -> its score.
    """
    scores: dict[str, StringScore] = {}
    for found, gold in texts:
        for label, string in found.keys() | gold.keys():
            predicted, annotated = found[label, string], gold[label, string]
            score = StringScore(min(predicted, annotated), predicted, annotated)
            scores[label] = scores.get(label, StringScore()) + score
    return scores


def micro_average(scores: Iterable[StringScore]) -> StringScore:
    """The score of all labels together."""
    return sum(scores, StringScore())
