"""Learning a calibration."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from spacy_padellm.analysis.tune.scaling import learn_calibration
from spacy_padellm.mention.calibration import AS_GIVEN

PREDICTIONS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60)


def sample(score: float, share: float, *, size: int = 200) -> list[tuple[float, bool]]:
    """Make predictions with the same score, a share of which is correct."""
    return [(score, i < share * size) for i in range(size)]


def test_analysis_scaling_learns_the_share_that_is_right() -> None:
    learnt = learn_calibration([sample(0.9, 0.6) + sample(0.5, 0.2)])
    assert learnt(0.9) == pytest.approx(0.6, abs=0.02)
    assert learnt(0.5) == pytest.approx(0.2, abs=0.02)


def test_analysis_scaling_corpora_weigh_the_same() -> None:
    learnt = learn_calibration([sample(0.5, 1, size=100), sample(0.5, 0, size=900)])
    assert learnt(0.5) == pytest.approx(0.5, abs=0.02)


def test_analysis_scaling_few_predictions_move_scores_little() -> None:
    learnt = learn_calibration([[(0.9, False)]])
    assert 0.5 < learnt(0.9) < 0.9


def test_analysis_scaling_of_nothing_leaves_scores() -> None:
    assert learn_calibration([]) == AS_GIVEN
    assert learn_calibration([[], []]) == AS_GIVEN


def test_analysis_scaling_misleading_scores_are_left() -> None:
    assert learn_calibration([sample(0.9, 0.1) + sample(0.1, 0.9)]) == AS_GIVEN


@settings(deadline=None, max_examples=50)
@given(PREDICTIONS, st.floats(0, 1), st.floats(0, 1))
def test_analysis_scaling_keeps_the_order_of_scores(
    predictions: list[tuple[float, bool]], first: float, second: float
) -> None:
    learnt = learn_calibration([predictions])
    low, high = sorted((first, second))
    assert 0 <= learnt(low) <= learnt(high) <= 1
