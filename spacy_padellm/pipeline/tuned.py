"""Run a component with another tuning for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.pipeline.pipe import PaDeLLMNER


@contextmanager
def tuned(
    pipe: PaDeLLMNER, tuning: Tuning, *, threshold: float | None = None
) -> Iterator[None]:
    """Give a component another tuning inside the `with` block, and its own after it.

    pipe (PaDeLLMNER): The component.
    tuning (Tuning): Its thresholds, calibration and promise in the block.
    threshold (float | None): The lowest probability of the mentions of all labels, in
        0..1; None takes the thresholds of `tuning`.
    """
    own, own_threshold = pipe.tuning, pipe.cfg["threshold"]
    pipe.set_tuning(tuning)
    pipe.cfg["threshold"] = threshold
    try:
        yield
    finally:
        pipe.set_tuning(own)
        pipe.cfg["threshold"] = own_threshold
