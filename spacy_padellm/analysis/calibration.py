"""Whether scores mean what they say: reliability curve and calibration error."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions whose score lies in (low, high]; the first bin holds 0 too.

    low, high (float): The bin's edges.
    count (int): How many predictions it holds.
    score (float): Their mean score; 0 if there are none.
    right (float): The share of them that is right; 0 if there are none.
    """

    low: float
    high: float
    count: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How scores agree with the share of right predictions.

    count (int): How many predictions there are.
    bins (list[Bin]): Bins of equal width over 0..1.
    error (float | None): Expected calibration error: the mean distance between a
        bin's score and its share of right ones, weighted by its count (Guo et al.,
        2017); None without predictions.
    """

    count: int
    bins: list[Bin]
    error: float | None


def measure_reliability(
    predictions: Iterable[tuple[float, bool]], *, bins: int = BINS
) -> Reliability:
    """Compare scores with the share of right predictions.

    predictions (Iterable[tuple[float, bool]]): The score of each prediction, in 0..1,
        and whether it is right.
    bins (int): Number of bins.
    """
    edges = [(i + 1) / bins for i in range(bins)]
    filled: list[list[tuple[float, bool]]] = [[] for _ in edges]
    for score, right in predictions:
        # a product of probabilities may exceed 1 by a rounding error
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
