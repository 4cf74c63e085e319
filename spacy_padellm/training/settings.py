"""How a component is trained, as `spacy-padellm.Training.v1` sets it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from spacy_padellm.checks import is_number, is_whole
from spacy_padellm.errors import Errors


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a component is trained.

    mention_prefix_loss (bool): Whether the loss includes the tokens of `<mention n>`.
        True in the paper; False is one of its ablations.
    max_batch_tokens (int): Tokens of a forward and backward pass, including padding.
        A larger batch is split, and the gradients are added up.
    gradient_checkpointing (bool): Whether to compute activations again in the backward
        pass: less memory, more time.
    muon (bool): Whether to use Muon for weight matrices; see `make_optimizers`.
    tag_loss (float | None): Loss weight of the tag of each token of a text; see
        `add_tags`. Needs a prefix LM. None is 1 for a model with tags, and 0 for
        others. With 0 the model loses its tags.
    quantized (bool | None): Whether the weights are saved in few bits, see
        `lm.quantized`. The loss is then computed with the weights as they will be read
        back, and the gradients change the weights behind them (straight-through
        estimation, Bengio et al., 2013). None keeps what the model was saved in.
    """

    mention_prefix_loss: bool = True
    max_batch_tokens: int = 4096
    gradient_checkpointing: bool = False
    muon: bool = False
    tag_loss: float | None = None
    quantized: bool | None = None

    def __post_init__(self) -> None:
        size, weight = self.max_batch_tokens, self.tag_loss
        for name, value, valid, least in (
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
            if not valid:
                message = Errors.P135.format(name=name, value=value, least=least)
                raise ValueError(message)
