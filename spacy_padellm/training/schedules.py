"""Schedules for `[training.optimizer.learn_rate]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Errors, Warnings, logger

# spaCy makes one update more than max_steps, and asks for the rate of the next
_STEPS_AFTER_THE_END = 2


class WarmupCosine:
    """An endless iterator over the learning rates of `warmup_cosine`."""

    def __init__(
        self, initial_rate: float, *, warmup_steps: int, total_steps: int | None
    ) -> None:
        """See `warmup_cosine`."""
        self._initial_rate = initial_rate
        self._warmup_steps = warmup_steps
        self._total_steps = total_steps
        self._step = 0
        self._check_warmup()

    def __iter__(self) -> WarmupCosine:
        return self

    def __next__(self) -> float:
        """The learning rate of the next step."""
        step, total = self._step, self._total_steps
        self._step += 1
        if step < self._warmup_steps:
            return self._initial_rate * (step + 1) / self._warmup_steps
        if total is None:
            # the rate of the first step is asked for before any training
            if step == max(1, self._warmup_steps):
                logger.warning(Warnings.W130.format(rate=self._initial_rate))
            return self._initial_rate
        if step == total + _STEPS_AFTER_THE_END:
            logger.warning(Warnings.W131.format(total=total))
        decay = max(1, total - self._warmup_steps)
        done = min(1.0, (step - self._warmup_steps) / decay)
        return self._initial_rate * (1 + math.cos(math.pi * done)) / 2

    def set_total(self, steps: int) -> None:
        """Set how many steps the training takes, if `total_steps` was None.

        steps (int): The number of steps.
        """
        if self._total_steps is None:
            self._total_steps = steps
            self._check_warmup()

    def _check_warmup(self) -> None:
        total = self._total_steps
        if total is not None and total <= self._warmup_steps:
            message = Warnings.W132.format(warmup=self._warmup_steps, total=total)
            logger.warning(message)


def warmup_cosine(
    initial_rate: float, *, warmup_steps: int, total_steps: int | None = None
) -> WarmupCosine:
    """`spacy-padellm.warmup_cosine.v1`: linear warm-up, then cosine decay to zero.

    initial_rate (float): The highest learning rate.
    warmup_steps (int): Steps of the warm-up.
    total_steps (int | None): Steps of warm-up and decay together; the rate is 0
        afterwards. None is `max_steps` of `[training]`.
    RETURNS (WarmupCosine): An iterator over the learning rate of each step.
    RAISES (ValueError): If one of them is out of range.
    """
    for name, value, valid, least in (
        (
            "initial_rate",
            initial_rate,
            is_number(initial_rate) and 0 < initial_rate < math.inf,
            "a number above 0",
        ),
        (
            "warmup_steps",
            warmup_steps,
            is_whole(warmup_steps) and warmup_steps >= 0,
            "a whole number, at least 0",
        ),
        (
            "total_steps",
            total_steps,
            total_steps is None or (is_whole(total_steps) and total_steps >= 1),
            "a whole number, at least 1, or to null to use max_steps",
        ),
    ):
        if not valid:
            raise ValueError(Errors.P260.format(name=name, value=value, least=least))
    return WarmupCosine(
        initial_rate, warmup_steps=warmup_steps, total_steps=total_steps
    )


def tell_total(schedules: Mapping[str, Any], steps: int | None) -> None:
    """Tell an optimizer's schedules how many steps the training takes.

    schedules (Mapping[str, Any]): The schedules of a thinc optimizer.
    steps (int | None): The number of steps, if it is known.
    """
    for schedule in schedules.values():
        if steps is not None and isinstance(schedule, WarmupCosine):
            schedule.set_total(steps)
