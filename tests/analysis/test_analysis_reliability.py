"""Reliability bins and the expected calibration error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from spacy_padellm.analysis.reliability import measure_reliability

# includes edges of bins
SCORES = st.one_of(st.floats(0, 1), st.integers(0, 10).map(lambda tenths: tenths / 10))
PREDICTIONS = st.lists(st.tuples(SCORES, st.booleans()), max_size=60)


def brute_force(predictions: list[tuple[float, bool]], bins: int) -> float:
    """Apply the definition to each bin: (low, high], and 0 in the first one."""
    error = 0.0
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        inside = [
            (score, right)
            for score, right in predictions
            if low < score <= high or (i == 0 and score == 0)
        ]
        if inside:
            mean = sum(score for score, _ in inside) / len(inside)
            share = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(predictions) * abs(mean - share)
    return error


@settings(deadline=None)
@given(PREDICTIONS.filter(bool), st.integers(1, 15))
def test_analysis_reliability_error_is_the_definitions(
    predictions: list[tuple[float, bool]], bins: int
) -> None:
    expected = brute_force(predictions, bins)
    assert measure_reliability(predictions, bins=bins).error == pytest.approx(expected)


@settings(deadline=None)
@given(PREDICTIONS)
def test_analysis_reliability_bins_contain_all_predictions(
    predictions: list[tuple[float, bool]],
) -> None:
    calibration = measure_reliability(predictions)
    assert sum(b.count for b in calibration.bins) == len(predictions)
    right = sum(b.right * b.count for b in calibration.bins)
    assert right == pytest.approx(sum(right for _, right in predictions))


def test_analysis_reliability_error_of_calibrated_scores_is_zero() -> None:
    predictions = [(0.75, place < 3) for place in range(4)]
    assert measure_reliability(predictions).error == 0


def test_analysis_reliability_error_of_certain_and_wrong_is_one() -> None:
    assert measure_reliability([(1.0, False)]).error == 1


def test_analysis_reliability_takes_scores_just_over_one() -> None:
    assert measure_reliability([(1.0000001, True)]).bins[-1].count == 1


def test_analysis_reliability_without_predictions_has_no_error() -> None:
    calibration = measure_reliability([])
    assert (calibration.count, calibration.error) == (0, None)
