"""Linear layers of a model whose outputs are joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.compat.onednn import onednn_linear, onednn_pack
from spacy_padellm.lm.layers.onednn import weight_of

_ROWS = 128  # of the inputs that the packed layout is best for

# (rows, inputs) -> (rows, outputs)
Projection = Callable[[torch.Tensor], torch.Tensor]
# linear layers with the same inputs -> their joined outputs
Project = Callable[..., Projection]


class ModuleProjection:
    """Linear layers of a model that may be trained, and may have adapters."""

    def __init__(self, *modules: Any) -> None:
        """Join linear layers.

        modules (torch.nn.Module): Layers with the same inputs.
        """
        self._modules = modules

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the joined outputs.

        x (torch.Tensor): (rows, inputs).
        RETURNS (torch.Tensor): (rows, outputs of all layers).
        """
        outputs = [module(x) for module in self._modules]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)


class PackedProjection:
    """Linear layers in the layout of oneDNN's kernels, packed at the first product.

    The packed weights are a copy: the model must not be trained any more.
    """

    def __init__(self, *modules: Any) -> None:
        """Join linear layers; nothing is packed yet.

        modules (torch.nn.Module): Layers with the same inputs, of bfloat16 on the CPU.
        """
        self._modules = modules
        self._weight: torch.Tensor | None = None
        self._bias: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the joined outputs.

        x (torch.Tensor): (rows, inputs).
        RETURNS (torch.Tensor): (rows, outputs of all layers).
        """
        if self._weight is None:
            weights = [weight_of(module) for module in self._modules]
            if self._modules[0].bias is not None:
                biases = [module.bias.detach() for module in self._modules]
                self._bias = torch.cat(biases)
            self._weight = onednn_pack(torch.cat(weights), _ROWS)
        return onednn_linear(x, self._weight, self._bias)


@dataclass(frozen=True, slots=True)
class NormedProjection:
    """A projection with a norm of its outputs."""

    projection: Projection
    norm: Projection

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the outputs.

        x (torch.Tensor): (rows, inputs).
        RETURNS (torch.Tensor): (rows, outputs).
        """
        return self.norm(self.projection(x))
