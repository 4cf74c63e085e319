"""The learning rate's schedule, and how it learns when the training ends."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

import pytest
from helpers import NAME, gold_examples, make_nlp, pipe_of
from thinc.api import Adam

from spacy_padellm.training.schedules import (
    check_training,
    planned_steps,
    tell_total,
    warmup_cosine,
)


def rates_of(count: int, **settings: Any) -> list[float]:
    return list(islice(warmup_cosine(1.0, **settings), count))


def training(max_steps: int, total_steps: int | None) -> dict[str, Any]:
    rate = {"@schedules": "spacy-padellm.warmup_cosine.v1", "total_steps": total_steps}
    return {"max_steps": max_steps, "optimizer": {"learn_rate": rate}}


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


@pytest.mark.parametrize(
    ("max_steps", "total", "message"),
    [
        (100, 4000, "before the learning rate has fallen"),
        (4000, 100, "learns nothing there"),
        (100, 100, None),
        (100, None, None),
        (0, 100, None),
    ],
)
def test_schedules_two_ends_are_told(
    max_steps: int,
    total: int | None,
    message: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert planned_steps(training(max_steps, total)) == (max_steps or None)
    messages = [record.message for record in caplog.records]
    assert len(messages) == (message is not None)
    assert message is None or message in messages[0]


def test_schedules_no_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="Set max_steps, or total_steps"):
        planned_steps(training(0, None))


def test_schedules_constant_rate_needs_no_end() -> None:
    assert planned_steps({"max_steps": 0, "optimizer": {"learn_rate": 0.1}}) is None


def test_schedules_component_tells_max_steps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    nlp = make_nlp()
    nlp.config["training"]["max_steps"] = 6
    nlp.initialize(lambda: gold_examples(nlp))
    sgd = Adam(warmup_cosine(1.0, warmup_steps=2), use_averages=False)
    for _ in range(6):
        pipe_of(nlp).finish_update(sgd)
        sgd.step_schedules()
    assert sgd.learn_rate == 0, NAME
    assert caplog.records == []


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"accumulate_gradient": 0}, "accumulate_gradient is 0"),
        ({"accumulate_gradient": -1}, "accumulate_gradient is -1"),
        ({"eval_frequency": 0}, "eval_frequency is 0"),
        ({"batcher": {"size": 0}}, "batcher.size is 0"),
    ],
)
def test_schedules_counts_below_one_are_an_error(
    settings: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"{name} in \[training\].* at least 1"):
        check_training(settings)


def test_schedules_counts_from_one_or_of_a_schedule_are_taken() -> None:
    schedule = {"@schedules": "compounding.v1", "start": 1, "stop": 9, "compound": 2}
    check_training({"accumulate_gradient": 1, "batcher": {"size": schedule}})
    check_training({"eval_frequency": 200, "batcher": None})


@pytest.mark.parametrize(
    "settings", [{"grad_clip": -1.0}, {"beta1": 1.0}, {"beta2": -0.1}]
)
def test_schedules_numbers_of_the_optimizer_out_of_range_are_an_error(
    settings: dict[str, float],
) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf"{name} is {value} in .*Set it to a number"):
        check_training({"optimizer": settings})


def test_schedules_initialize_checks_the_training_and_its_data() -> None:
    nlp = make_nlp()
    with pytest.raises(ValueError, match=r"no examples.*--paths\.train"):
        pipe_of(nlp).initialize(lambda: [], nlp=nlp)
    nlp.config["training"]["accumulate_gradient"] = 0
    with pytest.raises(ValueError, match="accumulate_gradient is 0"):
        pipe_of(nlp).initialize(lambda: gold_examples(nlp), nlp=nlp)
