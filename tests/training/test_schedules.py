"""The learning rate's schedule, and how it learns when the training ends."""

from __future__ import annotations

import logging
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import srsly
from helpers import NAME, gold_examples, make_nlp, pipe_of
from thinc.api import Adam

from spacy_padellm.training.schedules import (
    check_training,
    planned_steps,
    tell_total,
    warmup_cosine,
)

CASES = [
    pytest.param(case, id=case["name"])
    for case in srsly.read_yaml(
        Path(__file__).parents[1] / "cases" / "training" / "settings.yaml"
    )
]


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
    nlp.config["training"] |= {"max_steps": 6, "eval_frequency": 3}
    nlp.initialize(lambda: gold_examples(nlp))
    sgd = Adam(warmup_cosine(1.0, warmup_steps=2), use_averages=False)
    for _ in range(6):
        pipe_of(nlp).finish_update(sgd)
        sgd.step_schedules()
    assert sgd.learn_rate == 0, NAME
    assert caplog.records == []


@pytest.mark.parametrize("case", CASES)
def test_schedules_settings_of_a_training(
    case: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    nlp = make_nlp()
    for name, value in case["training"].items():
        own = nlp.config["training"][name]
        of_section = isinstance(value, dict) and name == "optimizer"
        nlp.config["training"][name] = {**own, **value} if of_section else value
    settings = nlp.config.interpolate()["training"]
    if "error" in case:
        with pytest.raises(ValueError, match=case["error"]):
            check_training(settings)
        return
    check_training(settings)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(case["warnings"]), messages
    for expected, message in zip(case["warnings"], messages, strict=True):
        assert re.search(expected, message)


def test_schedules_initialize_checks_the_training_and_its_data() -> None:
    nlp = make_nlp()
    with pytest.raises(ValueError, match=r"no examples.*--paths\.train"):
        pipe_of(nlp).initialize(lambda: [], nlp=nlp)
    nlp.config["training"]["accumulate_gradient"] = 0
    with pytest.raises(ValueError, match="accumulate_gradient is 0"):
        pipe_of(nlp).initialize(lambda: gold_examples(nlp), nlp=nlp)
