"""What one text asks of a pass, what it reads of it, and how it chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Choice:
    """How counts and mentions are chosen; the defaults are the paper's.

    min_count_probability (float | None): See `TreeDecoder`.
    from_text (bool): See `TreeDecoder`.
    tag_weight (float): See `TreeDecoder`.
    sure_tag_probability (float): See `TreeDecoder`.
    """

    min_count_probability: float | None = None
    from_text: bool = False
    tag_weight: float = 0.0
    sure_tag_probability: float = 1.0


@dataclass(slots=True)
class PassRequest:
    """What a text asks of the next pass.

    logit_slots (list[int]): Slots after which tokens are read.
    chances (list[tuple[int, int]]): Reads, and tokens whose probabilities are asked
        for there.
    tagged (range): Slots of the text whose tags are asked for.
    """

    logit_slots: list[int] = field(default_factory=list)
    chances: list[tuple[int, int]] = field(default_factory=list)
    tagged: range = range(0)

    def read(self, slot: int) -> int:
        """Ask for what follows a slot; gives the number of the read."""
        self.logit_slots.append(slot)
        return len(self.logit_slots) - 1

    def read_draft(self, end: int, last: int) -> None:
        """Ask for what follows each token of a draft, which stands after `end`."""
        self.logit_slots += range(end + 1, last + 1)

    def clear(self) -> None:
        """Begin anew, for the pass after this one."""
        self.logit_slots, self.chances, self.tagged = [], [], range(0)


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass read of one text.

    tokens (Sequence[int]): The likeliest token after each of the text's reads.
    scores (Sequence[float]): Their log-probabilities.
    chances (Sequence[float]): The probabilities of the tokens asked for.
    pick (Callable[[int, Sequence[int]], tuple[int, float]]): The likeliest of some
        tokens after a read, with its log-probability.
    tags (float64, (tokens, tags)): The log-probabilities of the tags of each token of
        the text; see `TagSet`.
    """

    tokens: Sequence[int]
    scores: Sequence[float]
    chances: Sequence[float]
    pick: Callable[[int, Sequence[int]], tuple[int, float]]
    tags: npt.NDArray[np.float64]
