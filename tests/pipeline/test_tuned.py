"""A component with another tuning for a while."""

from __future__ import annotations

import pytest
from helpers import pipe_of, trained

from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.pipeline.tuned import tuned


def test_tuned_pipe_has_the_tuning_inside_the_block() -> None:
    pipe = pipe_of(trained(threshold=0.25))
    with tuned(pipe, Tuning({"PER": 0.75})):
        assert pipe.lowest_score("PER") == 0.75
    assert pipe.lowest_score("PER") == 0.25


def test_tuned_pipe_has_its_own_tuning_after_an_error() -> None:
    pipe = pipe_of(trained(threshold=0.25))
    block = tuned(pipe, Tuning(), threshold=0.5)
    with pytest.raises(ValueError, match="no model"), block:
        raise ValueError("no model")
    assert pipe.cfg["threshold"] == 0.25
