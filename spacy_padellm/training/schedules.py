"""Schedules for `[training.optimizer.learn_rate]`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count


def warmup_cosine(
    initial_rate: float, *, warmup_steps: int, total_steps: int
) -> Iterator[float]:
    """`spacy-padellm.warmup_cosine.v1`: linear warm-up, then cosine decay to zero.

    initial_rate (float): The highest learning rate.
    warmup_steps (int): Steps of the warm-up.
    total_steps (int): Steps of warm-up and decay together; the rate is 0 afterwards.
    YIELDS (float): The learning rate of each step.
    """
    for step in count():
        if step < warmup_steps:
            yield initial_rate * (step + 1) / warmup_steps
            continue
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        yield initial_rate * (1 + math.cos(math.pi * done)) / 2
