"""How a component is trained, as `spacy-padellm.Training.v1` sets it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a component is trained.

    mention_prefix_loss (bool): Whether the tokens of `<mention n>` are learnt too
        (the paper's choice; without them is one of its ablations).
    max_batch_tokens (int): Tokens of a forward and backward pass, padding included;
        a batch of more is cut into several whose gradients add up.
    gradient_checkpointing (bool): Compute activations again in the backward pass:
        less memory, more time.
    muon (bool): Whether the layers' matrices are stepped by Muon; see
        `make_optimizers`.
    tag_loss (float | None): How much each token of the text counts that is to say
        which label's mention it belongs to; see `add_tags`. For prefix LMs. None is 1
        for a model that was taught tags, and 0 for others; with 0 a model's tags are
        given up.
    """

    mention_prefix_loss: bool = True
    max_batch_tokens: int = 4096
    gradient_checkpointing: bool = False
    muon: bool = False
    tag_loss: float | None = None

    def __post_init__(self) -> None:
        size, weight = self.max_batch_tokens, self.tag_loss
        for name, value, right, least in (
            (
                "max_batch_tokens",
                size,
                is_whole(size) and size >= 1,
                "a whole number, at least 1",
            ),
            (
                "tag_loss",
                weight,
                weight is None or (is_number(weight) and 0 <= weight < inf),
                "a number, at least 0, or null",
            ),
        ):
            if not right:
                message = Errors.P135.format(name=name, value=value, least=least)
                raise ValueError(message)
