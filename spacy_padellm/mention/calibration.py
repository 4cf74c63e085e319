"""Thresholds and calibration, which are fitted on gold texts after training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from spacy_padellm.errors import Errors

Measure = Literal["recall", "precision"]

NEAREST = 1e-6  # scores are clipped to this distance from 0 and 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """Maps the scores of mentions to the probability that they are right (Platt, 1999).

    slope (float): Factor of the scores' log-odds, positive, so that their order stays
        the same.
    offset (float): Added to the log-odds.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.slope < math.inf and math.isfinite(self.offset)):
            message = Errors.P153.format(slope=self.slope, offset=self.offset)
            raise ValueError(message)

    def __call__(self, score: float) -> float:
        """The probability of a mention with this score, both in 0..1."""
        if self == AS_GIVEN:
            return score
        odds = self.slope * log_odds(score) + self.offset
        return (1 + math.tanh(odds / 2)) / 2  # the logistic; exp may overflow


AS_GIVEN = Calibration()


def log_odds(score: float) -> float:
    """The log-odds of a score, finite also at 0 and 1."""
    inside = min(max(score, NEAREST), 1 - NEAREST)
    return math.log(inside / (1 - inside))


@dataclass(frozen=True, slots=True)
class Promise:
    """A recall or precision that a model keeps on new texts of a kind.

    measure (Measure): What is promised.
    rate (float | Mapping[str, float]): Its lowest value, in 0..1: of all labels
        together, or of each label.
    confidence (float): The probability that the promise is kept, of all labels at once.
    thresholds (Mapping[str, float]): Label -> the lowest probability of the mentions
        that it is about. Mentions of other labels are not promised.
    """

    measure: Measure
    rate: float | Mapping[str, float]
    confidence: float
    thresholds: Mapping[str, float]

    def covers(self, label: str, probability: float) -> bool:
        """Whether a mention is among those that the promise is about.

        label (str): The mention's label.
        probability (float): Its calibrated score, in 0..1.
        """
        return label in self.thresholds and probability >= self.thresholds[label]


@dataclass(frozen=True, slots=True)
class Tuning:
    """The thresholds and the calibration of a model.

    thresholds (Mapping[str, float]): Label -> the lowest probability of its mentions.
        It does not need to contain all labels.
    calibration (Calibration): From scores to probabilities.
    promise (Promise | None): A promised recall or precision, with its own thresholds.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration = AS_GIVEN
    promise: Promise | None = None

    def shared(self, alike: Iterable[Sequence[str]]) -> Tuning:
        """The same, also for labels that are like others; see `share`."""
        promise = self.promise
        if promise is not None:
            rate = promise.rate
            promise = replace(
                promise,
                rate=share(rate, alike) if isinstance(rate, Mapping) else rate,
                thresholds=share(promise.thresholds, alike),
            )
        return Tuning(share(self.thresholds, alike), self.calibration, promise)


def share(
    values: Mapping[str, float], alike: Iterable[Sequence[str]]
) -> dict[str, float]:
    """Give labels without a value that of a label which is like them.

    values (Mapping[str, float]): Label -> its value.
    alike (Iterable[Sequence[str]]): Labels that are like each other, in groups; the
        first one of a group with a value counts.
    """
    given: dict[str, float] = {}
    for labels in alike:
        first = next((label for label in labels if label in values), None)
        if first is not None:
            given |= dict.fromkeys(labels, values[first])
    return {**given, **values}
