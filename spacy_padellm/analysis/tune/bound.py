"""Is an error rate below a limit, on new Docs too?

Docs are drawn, not mentions: the errors of a Doc come together. So the number of
mentions is divided by the design effect, as is usual for shares in cluster samples
(Korn and Graubard, 1998), and the exact binomial test takes what is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# new texts vary as much as those of the test, if they are as many
_NEW_TEXTS = 2.0
# errors whose worth it has that all mentions of a Doc may be wrong together
_PRIOR_ERRORS = 5.0
_MOST_TIMES = 1000
_MOST_TERMS = 10_000
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The share of wrong mentions in Docs.

    rate (float): The share, in 0..1; 0 if there are no mentions.
    size (float): The effective sample size: how many independent mentions would tell
        as much about as many new Docs.
    """

    rate: float
    size: float

    def p_value(self, limit: float, *, times: float = 1.0) -> float:
        """The probability of so few errors in Docs with an error rate at the limit.

        limit (float): The limit, in 0..1.
        times (float): Compute it for so many times the Docs.
        """
        size = self.size * times
        if size <= 0 or limit <= self.rate:
            return 1.0
        if limit >= 1:
            return 0.0
        errors = self.rate * size
        return 1.0 - _incomplete_beta(errors + 1, size - errors, limit)


def measure_errors(
    errors: npt.NDArray[np.int64], mentions: npt.NDArray[np.int64]
) -> ErrorRate:
    """Measure the error rate of Docs.

    errors (int64, (docs,)): The wrong mentions of each Doc.
    mentions (int64, (docs,)): All its mentions.
    """
    total, wrong = float(mentions.sum()), float(errors.sum())
    if not total:
        return ErrorRate(0.0, 0.0)
    rate = wrong / total
    # of mentions that are all right or all wrong in each Doc
    most = float((mentions**2).sum()) / total
    found = 1.0
    if 0 < rate < 1:
        docs = max(int(np.count_nonzero(mentions)), 2)
        spread = float(((errors - rate * mentions) ** 2).sum()) * docs / (docs - 1)
        found = max(spread / (total * rate * (1 - rate)), 1.0)
    effect = (wrong * found + _PRIOR_ERRORS * most) / (wrong + _PRIOR_ERRORS)
    return ErrorRate(rate, total / effect / _NEW_TEXTS)


def times_needed(rate: ErrorRate, limit: float, *, level: float) -> float:
    """How many times the Docs would show that their error rate is below a limit.

    rate (ErrorRate): The error rate of the Docs.
    limit (float): The limit, in 0..1.
    level (float): The highest p-value that shows it.
    RETURNS (float): At least 1; infinite if the error rate is not below the limit, or
        so close to it that nobody has so many Docs.
    """
    if not rate.size or limit <= rate.rate:
        return math.inf
    low, high = 0.0, 1.0
    while rate.p_value(limit, times=high) > level:
        low, high = high, 2 * high
        if high > _MOST_TIMES:
            return math.inf
    while low >= 1 and high > 1.01 * low:
        middle = (low + high) / 2
        if rate.p_value(limit, times=middle) > level:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below this
        return 1.0 - _incomplete_beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    # Lentz's method
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return math.exp(front) * value / a


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
