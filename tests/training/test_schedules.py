"""The learning rate's schedule, and how it learns when the training ends."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

import pytest
from helpers import NAME, gold_examples, make_nlp, pipe_of
from thinc.api import Adam

from spacy_padellm.training.schedules import tell_total, warmup_cosine


def rates_of(count: int, **settings: Any) -> list[float]:
    return list(islice(warmup_cosine(1.0, **settings), count))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_steps", 0),
        ("total_steps", -5),
        ("total_steps", 10.5),
        ("warmup_steps", -1),
        ("warmup_steps", True),
        ("initial_rate", 0.0),
        ("initial_rate", float("nan")),
    ],
)
def test_schedules_value_out_of_range_is_refused(name: str, value: Any) -> None:
    settings = {"initial_rate": 0.1, "warmup_steps": 2, "total_steps": 9, name: value}
    with pytest.raises(ValueError, match=rf"^{name} is .*learn_rate\]\. Set it to a"):
        warmup_cosine(**settings)


def test_schedules_total_is_told_to_the_optimizer() -> None:
    sgd = Adam(warmup_cosine(1.0, warmup_steps=2), use_averages=False)
    found = [float(sgd.learn_rate)]
    for _ in range(7):
        tell_total(sgd.schedules, 6)
        sgd.step_schedules()
        found.append(float(sgd.learn_rate))
    assert found == rates_of(8, warmup_steps=2, total_steps=6)


def test_schedules_number_is_not_replaced() -> None:
    sgd = Adam(warmup_cosine(1.0, warmup_steps=0, total_steps=2), use_averages=False)
    tell_total(sgd.schedules, 100)
    sgd.step_schedules()
    sgd.step_schedules()
    assert sgd.learn_rate == 0


def test_schedules_unknown_end_keeps_the_rate_and_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert rates_of(6, warmup_steps=2) == [0.5, 1, 1, 1, 1, 1]
    assert [r.message[:31] for r in caplog.records] == [
        "The learning rate stays at 1.0,"
    ]


def test_schedules_rate_zero_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    rates_of(6, warmup_steps=1, total_steps=4)  # as many as spaCy asks for
    assert caplog.records == []
    rates_of(20, warmup_steps=1, total_steps=4)
    assert [r.message[:36] for r in caplog.records] == [
        "The learning rate is 0 since step 4,"
    ]


def test_schedules_long_warmup_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rates_of(3, warmup_steps=50, total_steps=40)
    assert "Set warmup_steps" in caplog.records[0].message


def test_schedules_component_tells_max_steps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    nlp = make_nlp()
    nlp.config["training"] |= {"max_steps": 6, "eval_frequency": 3}
    nlp.initialize(lambda: gold_examples(nlp))
    sgd = Adam(warmup_cosine(1.0, warmup_steps=2), use_averages=False)
    for _ in range(6):
        pipe_of(nlp).finish_update(sgd)
        sgd.step_schedules()
    assert sgd.learn_rate == 0, NAME
    assert caplog.records == []
