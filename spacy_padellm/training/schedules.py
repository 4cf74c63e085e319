"""Schedules for `[training.optimizer.learn_rate]`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Errors, Warnings, logger

# spaCy makes one update more than max_steps, and asks for the rate of the next
_STEPS_AFTER_THE_END = 2
# optimizers of spaCy that are no AdamW
_OTHER_OPTIMIZERS = {"SGD.v1": "SGD", "RAdam.v1": "RAdam"}


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


def check_training(training: Mapping[str, Any]) -> None:
    """Check settings of a training with which it fails, waits forever or is wasted.

    Warns of settings that end it late or early, which may be meant.

    training (Mapping[str, Any]): The section `[training]`, without variables.
    RAISES (ValueError): If a count is not a whole number, at least 1, or a number of
        the optimizer is out of its range, or it averages parameters or is no AdamW.
    """
    _check_counts(training)
    _check_optimizer(training.get("optimizer") or {})
    _note_end(training)


def _check_counts(training: Mapping[str, Any]) -> None:
    for name in ("accumulate_gradient", "eval_frequency"):
        value = training.get(name, 1)
        if not (is_whole(value) and value >= 1):
            raise ValueError(Errors.P729.format(name=name, value=value))
    size = (training.get("batcher") or {}).get("size", 1)
    if is_number(size) and size < 1:
        raise ValueError(Errors.P729.format(name="batcher.size", value=size))
    for name in ("max_steps", "patience"):
        value = training.get(name, 0)
        if is_number(value) and value < 0:
            raise ValueError(Errors.P760.format(name=name, value=value))


def _check_optimizer(optimizer: Mapping[str, Any]) -> None:
    least = sys.float_info.min
    for name, start, end, valid in (
        ("learn_rate", least, math.inf, "a number above 0 (e.g. 1e-4)"),
        ("grad_clip", 0, math.inf, "a number, at least 0 (1.0 is usual)"),
        ("L2", 0, math.inf, "a number, at least 0 (0.01 is usual)"),
        ("eps", least, math.inf, "a number above 0 (1e-8 is usual)"),
        ("beta1", 0, 1, "a number from 0 to below 1 (0.9 is usual)"),
        ("beta2", 0, 1, "a number from 0 to below 1 (0.98 is usual)"),
    ):
        value: Any = optimizer.get(name)
        if is_number(value) and not start <= value < end:
            message = Errors.P731.format(name=name, value=value, least=valid)
            raise ValueError(message)
    if optimizer.get("use_averages"):
        raise ValueError(Errors.P124)
    kind = _OTHER_OPTIMIZERS.get(str(optimizer.get("@optimizers")))
    if optimizer.get("L2") and optimizer.get("L2_is_weight_decay") is False:
        kind = kind or "L2 regularization in the gradient"
    if kind is not None:
        raise ValueError(Errors.P941.format(kind=kind))


def _note_end(training: Mapping[str, Any]) -> None:
    """Warn of a training that never ends, or before it was evaluated as is meant."""
    steps, patience = training.get("max_steps"), training.get("patience")
    every = training.get("eval_frequency", 1)
    if not (steps or patience or training.get("max_epochs", 0) > 0):
        logger.warning(Warnings.W760)
    if patience and patience < every:
        logger.warning(Warnings.W761.format(patience=patience, every=every))
    if steps and steps < every:
        logger.warning(Warnings.W762.format(steps=steps, every=every))


def planned_steps(training: Mapping[str, Any]) -> int | None:
    """How many steps a training takes, by its config.

    Warns if the learning rate is planned for another number of steps.

    training (Mapping[str, Any]): The section `[training]`, without variables.
    RETURNS (int | None): `max_steps`; None if there is no limit.
    RAISES (ValueError): If there is no limit, and the learning rate needs one.
    """
    max_steps = training["max_steps"] or None
    rate = training["optimizer"].get("learn_rate")
    if isinstance(rate, Mapping) and "total_steps" in rate:
        total = rate["total_steps"]
        if total is None and max_steps is None:
            raise ValueError(Errors.P261)
        if total is not None and max_steps is not None and total < max_steps:
            logger.warning(Warnings.W133.format(total=total, steps=max_steps))
        elif total is not None and max_steps is not None and total > max_steps:
            logger.warning(Warnings.W134.format(total=total, steps=max_steps))
    return max_steps


def tell_total(schedules: Mapping[str, Any], steps: int | None) -> None:
    """Tell an optimizer's schedules how many steps the training takes.

    schedules (Mapping[str, Any]): The schedules of a thinc optimizer.
    steps (int | None): The number of steps, if it is known.
    """
    for schedule in schedules.values():
        if steps is not None and isinstance(schedule, WarmupCosine):
            schedule.set_total(steps)
