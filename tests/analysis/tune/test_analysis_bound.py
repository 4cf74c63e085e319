"""Tests of error rates in Docs."""

from __future__ import annotations

from math import comb, inf

import numpy as np
import pytest

from spacy_padellm.analysis.tune.bound import ErrorRate, measure_errors, times_needed


def measure(errors: list[int], mentions: list[int]) -> ErrorRate:
    return measure_errors(np.array(errors), np.array(mentions))


@pytest.mark.parametrize(("errors", "size"), [(0, 1), (0, 45), (3, 60), (70, 900)])
@pytest.mark.parametrize("limit", [0.01, 0.1, 0.5, 0.99])
def test_bound_is_the_exact_binomial_test(errors: int, size: int, limit: float) -> None:
    expected = sum(
        comb(size, n) * limit**n * (1 - limit) ** (size - n) for n in range(errors + 1)
    )
    found = ErrorRate(errors / size, size).p_value(limit)
    if limit <= errors / size:
        assert found == 1
    else:
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_bound_of_mentions_in_docs_of_their_own_is_half_their_number() -> None:
    # half, as the rate of as many new Docs varies, too
    found = measure([1] * 50 + [0] * 450, [1] * 500)
    assert found.rate == 0.1
    assert found.size == pytest.approx(250, rel=0.01)


def test_bound_counts_errors_that_come_together_as_fewer() -> None:
    spread = measure([1] * 50 + [0] * 50, [10] * 100)
    together = measure([10] * 5 + [0] * 95, [10] * 100)
    assert spread.rate == together.rate == 0.05
    assert together.size < spread.size / 4
    assert together.p_value(0.1) > spread.p_value(0.1)


def test_bound_without_errors_takes_docs_as_single_mentions() -> None:
    assert measure([0] * 20, [30] * 20).size == 10
    assert measure([0] * 20, [30] * 20).p_value(0.3) == pytest.approx(0.7**10)


def test_bound_of_no_mentions_shows_nothing() -> None:
    nothing = measure([0, 0], [0, 0])
    assert nothing.p_value(0.99) == 1
    assert times_needed(nothing, 0.99, level=0.1) == inf


def test_bound_ignores_docs_without_mentions() -> None:
    partial = measure([1, 0, 2, 0], [2, 2, 3, 1])
    more = measure([1, 0, 2, 0] + [0] * 50, [2, 2, 3, 1] + [0] * 50)
    assert more == partial


def test_bound_needs_as_many_docs_as_it_says() -> None:
    few = measure([1] * 5 + [0] * 95, [1] * 100)
    times = times_needed(few, 0.07, level=0.1)
    assert 1 < times < 100
    assert few.p_value(0.07, times=times) <= 0.1
    assert few.p_value(0.07, times=0.95 * times) > 0.1
    assert times_needed(few, 0.5, level=0.1) == 1
    assert times_needed(few, 0.05, level=0.1) == inf
    assert times_needed(few, 0.05 + 1e-9, level=0.1) == inf
