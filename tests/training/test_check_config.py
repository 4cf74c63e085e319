"""Settings of `[training]` with which a training fails, never ends or is wasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import srsly
from helpers import gold_examples, make_nlp, pipe_of

from spacy_padellm.training.check_config import check_training, planned_steps

CASES = [
    pytest.param(case, id=case["name"])
    for case in srsly.read_yaml(
        Path(__file__).parents[1] / "cases" / "training" / "settings.yaml"
    )
]


def training(max_steps: int, total_steps: int | None) -> dict[str, Any]:
    rate = {"@schedules": "spacy-padellm.warmup_cosine.v1", "total_steps": total_steps}
    return {"max_steps": max_steps, "optimizer": {"learn_rate": rate}}


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
def test_check_config_two_ends_are_told(
    max_steps: int,
    total: int | None,
    message: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert planned_steps(training(max_steps, total)) == (max_steps or None)
    messages = [record.message for record in caplog.records]
    assert len(messages) == (message is not None)
    assert message is None or message in messages[0]


def test_check_config_no_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="Set max_steps, or total_steps"):
        planned_steps(training(0, None))


def test_check_config_constant_rate_needs_no_end() -> None:
    assert planned_steps({"max_steps": 0, "optimizer": {"learn_rate": 0.1}}) is None


@pytest.mark.parametrize("case", CASES)
def test_check_config_settings_of_a_training(
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


def test_check_config_initialize_checks_the_training_and_its_data() -> None:
    nlp = make_nlp()
    with pytest.raises(ValueError, match=r"no examples.*--paths\.train"):
        pipe_of(nlp).initialize(lambda: [], nlp=nlp)
    nlp.config["training"]["accumulate_gradient"] = 0
    with pytest.raises(ValueError, match="accumulate_gradient is 0"):
        pipe_of(nlp).initialize(lambda: gold_examples(nlp), nlp=nlp)
