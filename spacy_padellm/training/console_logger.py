"""The rows of a training, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import IO, Any

from spacy.language import Language
from spacy.util import registry
from wasabi.printer import Printer

from spacy_padellm.checks import is_whole

LogStep = Callable[[dict[str, Any] | None], None]
Logger = Callable[[Language, IO[str], IO[str]], tuple[LogStep, Callable[[], None]]]


def make_console_logger(minutes: float = 2.0) -> Logger:
    """`spacy-padellm.ConsoleLogger.v1`: the rows of spaCy's ConsoleLogger, and the time
    left between them.

    On a terminal that is a progress bar. Elsewhere, a line is written every few
    minutes. Steps that a continued run skips have no rows.

    minutes (float): Time between two lines.
    """
    make_rows = registry.loggers.get("spacy.ConsoleLogger.v3")

    def set_up(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> tuple[LogStep, Callable[[], None]]:
        # spaCy's bar cannot be as long as a variable
        has_bar = is_whole(nlp.config["training"]["max_steps"])
        rows = make_rows(progress_bar="train" if has_bar else None)
        log_row, finish = rows(nlp, stdout, stderr)
        message = Printer(no_print=True)
        steps = nlp.config.interpolate()["training"]["max_steps"]
        step = last_step = 0
        last = time.monotonic()

        def write(text: str) -> None:
            print(message.info(text), file=stdout, flush=True)

        def log_step(info: dict[str, Any] | None) -> None:
            nonlocal step, last_step, last
            now = time.monotonic()
            if _skips_step(nlp):
                last, last_step = now, step
                step += 1
                return
            log_row(info)
            due = now - last >= 60 * minutes
            if step and due and not stderr.isatty():
                each = (now - last) / (step - last_step)
                write(_progress(step, steps, each))
            if not step or due:
                last, last_step = now, step
            step += 1

        write("The first row needs one evaluation of the development texts")
        return log_step, finish

    return set_up


def _skips_step(nlp: Language) -> bool:
    """Whether the checkpoint of a component holds the step."""
    return any(getattr(pipe, "skips_step", False) for _, pipe in nlp.pipeline)


def _progress(step: int, steps: int, each: float) -> str:
    """How far the training is: seconds for each step, and the time left."""
    if not steps:
        return f"Step {step}, {each:.1f} s a step"
    left = max(0, steps - step) * each / 60
    return f"Step {step} of {steps}, {each:.1f} s a step, {left:.0f} minutes left"
