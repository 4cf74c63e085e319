"""One forward pass from the view of one text: what it asks for, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(slots=True)
class PassRequest:
    """The outputs that a text needs from the next forward pass.

    logit_slots (list[int]): Slots of the tokens whose logits are needed. The index in
        this list is called an output's number.
    probabilities (list[tuple[int, int]]): Pairs of an output's number and a token: the
        probability of that token is needed there.
    tagged (range): Slots of the text's tokens that are to be tagged.
    """

    logit_slots: list[int] = field(default_factory=list)
    probabilities: list[tuple[int, int]] = field(default_factory=list)
    tagged: range = range(0)

    def ask(self, slot: int) -> int:
        """Ask for the token after a slot.

        slot (int): The slot of a token.
        RETURNS (int): The output's number.
        """
        self.logit_slots.append(slot)
        return len(self.logit_slots) - 1

    def ask_draft(self, end: int, last: int) -> None:
        """Ask for the tokens after each token of a draft.

        end (int): The slot before the draft.
        last (int): The slot of its last token.
        """
        self.logit_slots += range(end + 1, last + 1)

    def clear(self) -> None:
        """Start the request for the next pass."""
        self.logit_slots, self.probabilities, self.tagged = [], [], range(0)


@dataclass(frozen=True, slots=True)
class PassResult:
    """The outputs of a forward pass for one text.

    tokens (Sequence[int]): The most likely token of each output.
    log_probabilities (Sequence[float]): Their log-probabilities.
    probabilities (Sequence[float]): The probabilities that were asked for.
    tags (float64, (tokens, tags)): Log-probabilities of the tags of each token of the
        text; see `TagSet`.
    picks (dict[int, tuple[int, float]]): Output -> the most likely of the tokens with
        which a mention stays a string of the text, with its log-probability; for
        outputs whose most likely token is none of them.
    """

    tokens: Sequence[int]
    log_probabilities: Sequence[float]
    probabilities: Sequence[float]
    tags: npt.NDArray[np.float64]
    picks: dict[int, tuple[int, float]] = field(default_factory=dict)
