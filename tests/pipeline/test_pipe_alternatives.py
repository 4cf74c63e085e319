"""Alternatives of the component's mentions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import TEXT, make_nlp, pipe_of, trained

from spacy_padellm.mention.calibration import Tuning


def test_pipe_alternatives_are_those_that_lost() -> None:
    nlp = trained(alternatives=True)
    pipe = pipe_of(nlp)
    pipe.set_tuning(Tuning(dict.fromkeys(pipe.labels, 0.0)))
    # counts of any probability, so that each label finds something
    pipe.decoder = replace(
        pipe.decoder, min_count_probability=1e-6, sure_tag_probability=1.0
    )
    doc = nlp(TEXT)
    group = doc.spans["padellm"]
    alternatives = group.attrs["alternatives"]
    assert len(alternatives) == len(group)
    assert any(alternatives)
    for span, others in zip(group, alternatives, strict=True):
        assert others == sorted(others, key=lambda other: -other["score"])
        for other in others:
            assert other["start"] < span.end_char
            assert span.start_char < other["end"]
            assert (other["start"], other["end"], other["label"]) != (
                span.start_char,
                span.end_char,
                span.label_,
            )


def test_pipe_alternatives_that_are_no_flag_are_an_error() -> None:
    with pytest.raises(ValueError, match="Set it to true or false"):
        make_nlp(alternatives=["yes"])
    nlp = trained()
    pipe_of(nlp).cfg["alternatives"] = "yes"
    with pytest.raises(ValueError, match="Set it to true or false"):
        nlp(TEXT)
