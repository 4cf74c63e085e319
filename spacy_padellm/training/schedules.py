"""Schedules for `[training.optimizer.learn_rate]`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count


def warmup_cosine(
    initial_rate: float, *, warmup_steps: int, total_steps: int
) -> Iterator[float]:
    """Rise linearly, then fall along a cosine to zero, and stay there.

    initial_rate (float): The highest rate.
    warmup_steps (int): Steps of the rise.
    total_steps (int): Steps of rise and fall together.
    YIELDS (float): The rate of each step.
    """
    for step in count():
        if step < warmup_steps:
            yield initial_rate * (step + 1) / warmup_steps
            continue
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        yield initial_rate * (1 + math.cos(math.pi * done)) / 2
