"""Calibrated scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.mention.calibration import Calibration


@given(st.floats(0, 1))
def test_tuning_calibration_as_given_leaves_scores(score: float) -> None:
    assert Calibration()(score) == score


def test_tuning_calibration_is_a_line_of_log_odds() -> None:
    calibrated = Calibration(2.0, math.log(3))(0.75)  # odds 3 become 3 * 3**2
    assert calibrated == pytest.approx(27 / 28)


@given(st.floats(1e-300, 1e300), st.floats(-1e300, 1e300), st.floats(0, 1))
def test_tuning_calibration_gives_probabilities(
    slope: float, offset: float, score: float
) -> None:
    assert 0 <= Calibration(slope, offset)(score) <= 1


@pytest.mark.parametrize(
    ("slope", "offset"), [(0.0, 0.0), (-1.0, 0.0), (math.inf, 0.0), (1.0, math.nan)]
)
def test_tuning_calibration_that_is_none_is_told(slope: float, offset: float) -> None:
    with pytest.raises(ValueError, match=f"slope {slope} and offset {offset}"):
        Calibration(slope, offset)
