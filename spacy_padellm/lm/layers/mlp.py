"""The MLP of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from spacy_padellm.lm.layers.projection import Projection

Activation = Callable[[torch.Tensor], torch.Tensor]

_gelu_tanh: Activation = partial(F.gelu, approximate="tanh")
# by the names that transformers has for them
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
}


@dataclass(frozen=True, slots=True)
class GatedMLP:
    """An MLP with a gate (Shazeer, 2020)."""

    gate: Projection
    up: Projection
    down: Projection
    activation: Activation

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the outputs.

        x (torch.Tensor): (rows, size).
        RETURNS (torch.Tensor): (rows, size).
        """
        return self.down(self.activation(self.gate(x)) * self.up(x))


@dataclass(frozen=True, slots=True)
class PlainMLP:
    """An MLP without a gate."""

    up: Projection
    down: Projection
    activation: Activation

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `GatedMLP`."""
        return self.down(self.activation(self.up(x)))
