"""What a model carries that was learnt on gold texts once its weights were there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from spacy_padellm.errors import Errors

NEAREST = 1e-6  # scores nearer to 0 or 1 are taken for this


@dataclass(frozen=True, slots=True)
class Calibration:
    """Makes the scores of mentions the share of them that is right (Platt, 1999).

    slope (float): Positive, so that the order of scores stays; 1 leaves them.
    offset (float): Added to the scores' log-odds; 0 leaves them.
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
    """The logarithm of a score's odds; finite at 0 and 1 too."""
    inside = min(max(score, NEAREST), 1 - NEAREST)
    return math.log(inside / (1 - inside))


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model's mentions are judged.

    thresholds (Mapping[str, float]): Label -> the lowest probability of its mentions;
        labels that are not in it have none of their own.
    calibration (Calibration): From scores to probabilities.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration = AS_GIVEN
