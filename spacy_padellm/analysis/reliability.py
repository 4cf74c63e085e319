"""How well scores match accuracy: reliability curve and calibration error."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions with a score in (low, high]; the first bin includes 0.

    low, high (float): The bin's edges.
    count (int): The number of predictions.
    score (float): Their mean score; 0 if there are none.
    right (float): The share of correct predictions, in 0..1; 0 if there are none.
    """

    low: float
    high: float
    count: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """The agreement between scores and the share of correct predictions.

    count (int): The number of predictions.
    bins (list[Bin]): Bins of equal width over 0..1.
    error (float | None): The expected calibration error (Guo et al., 2017): the mean
        difference between a bin's mean score and its share of correct predictions,
        weighted by its count. None if there are no predictions.
    """

    count: int
    bins: list[Bin]
    error: float | None


def measure_reliability(
    predictions: Iterable[tuple[float, bool]], *, bins: int = BINS
) -> Reliability:
    """Compare scores with the share of correct predictions.

    predictions (Iterable[tuple[float, bool]]): The score of each prediction, in 0..1,
        and whether it is correct.
    bins (int): The number of bins.
    """
    edges = [(i + 1) / bins for i in range(bins)]
    filled: list[list[tuple[float, bool]]] = [[] for _ in edges]
    for score, right in predictions:
        # rounding errors can push a product of probabilities above 1
        filled[bisect_left(edges, min(score, 1.0))].append((score, right))
    result = []
    for i, members in enumerate(filled):
        size = max(len(members), 1)
        score = sum(score for score, _ in members) / size
        share = sum(right for _, right in members) / size
        result.append(Bin(i / bins, edges[i], len(members), score, share))
    count = sum(map(len, filled))
    if not count:
        return Reliability(0, result, None)
    error = sum(b.count * abs(b.right - b.score) for b in result) / count
    return Reliability(count, result, error)
