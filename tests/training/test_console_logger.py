"""The lines between the rows of a training."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from helpers import NAME, make_nlp, pipe_of
from spacy.util import registry

LOGGER = "spacy-padellm.ConsoleLogger.v1"
COLOR_END = "\x1b[0m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(
    monkeypatch: pytest.MonkeyPatch,
    *,
    steps: int,
    max_steps: int | str = 1000,
    skipped: int = 0,
    stderr: io.StringIO | None = None,
) -> list[str]:
    """What is written when each step takes 30 seconds, and each row 300.

    skipped (int): The steps of the checkpoint that the run continues from.
    """
    nlp = make_nlp()
    nlp.config["training"]["max_steps"] = max_steps
    nlp.config["training"]["score_weights"] = {"ents_f": 1.0}
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stdout = io.StringIO()
    make = registry.loggers.get(LOGGER)
    log_step, finish = make()(nlp, stdout, stderr or io.StringIO())
    row: dict[str, Any] = {
        "epoch": 0,
        "step": 0,
        "losses": {NAME: 1.0},
        "other_scores": {"ents_f": 0.5},
        "score": 0.5,
    }
    for step in range(steps):
        now += 30 if step else 300
        pipe_of(nlp).skips_step = step < skipped
        log_step(None if step else row)
    finish()
    lines = [line.partition("Step ")[2] for line in stdout.getvalue().splitlines()]
    return [line.removesuffix(COLOR_END) for line in lines if line]


def test_console_logger_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, steps=10)
    assert lines == [
        "4 of 1000, 30.0 s a step, 498 minutes left",
        "8 of 1000, 30.0 s a step, 496 minutes left",
    ]


def test_console_logger_continued_run_does_not_count_skipped_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = lines_of(monkeypatch, steps=8, skipped=3)
    assert lines == ["6 of 1000, 30.0 s a step, 497 minutes left"]


def test_console_logger_steps_may_be_a_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = lines_of(monkeypatch, steps=5, max_steps="${training.eval_frequency}")
    assert lines == ["4 of 200, 30.0 s a step, 98 minutes left"]


def test_console_logger_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, steps=5, max_steps=0)
    assert lines == ["4, 30.0 s a step"]


def test_console_logger_terminal_has_the_bar_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lines_of(monkeypatch, steps=10, stderr=Terminal()) == []
