"""Settings of `[training]` with which a training fails, never ends or is wasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import srsly
from helpers import gold_examples, make_nlp, pipe_of, trained
from spacy.tokens import DocBin
from spacy.training.initialize import init_nlp

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


@pytest.mark.parametrize(
    ("epochs", "total", "told"), [(3, None, True), (3, 100, False), (-1, None, False)]
)
def test_check_config_epochs_that_end_before_the_rate_falls_are_told(
    epochs: int, total: int | None, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    planned_steps({**training(100, total), "max_epochs": epochs})
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == told
    for message in messages:
        assert "until step 100 (max_steps)" in message
        assert "after 3 epoch(s) (max_epochs)" in message
        assert "Set total_steps in [training.optimizer.learn_rate]" in message


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


@pytest.mark.parametrize(
    ("epochs", "count", "told"), [(-1, 100, True), (-1, 99, False), (0, 100, False)]
)
def test_check_config_vocabulary_of_the_first_texts_of_a_stream_is_told(
    epochs: int, count: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = make_nlp()
    nlp.config["training"]["max_epochs"] = epochs
    examples = [*gold_examples(nlp) * 20][:count]
    pipe_of(nlp).initialize(lambda: examples, nlp=nlp)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == told
    for message in messages:
        assert "vocabulary of the first 100 texts alone" in message
        assert "Set max_epochs = 0" in message


def test_check_config_spacy_initializes_a_stream_with_its_first_texts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = make_nlp()
    docs = [example.reference for example in gold_examples(nlp)] * 30
    DocBin(docs=docs).to_disk(tmp_path / "a.spacy")
    config = nlp.config.copy()
    for name in ("train", "dev"):
        config["paths"][name] = str(tmp_path / "a.spacy")
    config["training"]["max_epochs"] = -1
    init_nlp(config)
    assert "vocabulary of the first 100 texts alone" in caplog.text


def test_check_config_vocabulary_of_a_model_with_a_name_is_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    nlp.config["training"]["max_epochs"] = -1
    examples = [*gold_examples(nlp) * 20]
    pipe_of(nlp).initialize(lambda: examples, nlp=nlp)
    assert not caplog.records
