"""Float32 weights for the optimizer, beside a model that computes in bfloat16.

A step of fine-tuning is smaller than what bfloat16 can add to a weight. So the weights
and the summed gradients that the optimizer sees are float32 (Micikevicius et al., 2018,
section 3.1); the model computes with their bfloat16 copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from spacy_padellm.lm.quantization.storage import bits_of, rounded


class MasterWeights:
    """The float32 weights of a model's trainable parameters.

    A float32 parameter is its own master, unless it is quantized.
    """

    def __init__(self, model: nn.Module, *, quantized: bool = False) -> None:
        """Copy the weights of a model's trainable parameters.

        model (nn.Module): The model.
        quantized (bool): Whether the model computes with the masters' values as they
            are stored in few bits.
        """
        self._model = model
        self._bits = bits_of(model) if quantized else {}
        self._masters = {
            name: parameter
            if parameter.dtype == torch.float32 and name not in self._bits
            else parameter.detach().float().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        if quantized:
            self.publish()

    def is_of(self, model: nn.Module) -> bool:
        """Whether these are the weights of a model, and not of a copy of it."""
        return self._model is model

    def named(self) -> dict[str, torch.Tensor]:
        """The float32 weights by the names of their parameters."""
        return self._masters

    @torch.no_grad()
    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the masters, and let the model compute with them.

        weights (Mapping[str, torch.Tensor]): Weights as `named` gives them.
        """
        for name, master in self._masters.items():
            master.copy_(weights[name])
        self.publish()

    @torch.no_grad()
    def collect(self) -> None:
        """Move the parameters' gradients to their masters, and add them up there."""
        for _, parameter, master in self._copies():
            if parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad += parameter.grad
            parameter.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Let the model compute with the masters' present values."""
        for name, parameter, master in self._copies():
            bits = self._bits.get(name)
            parameter.copy_(rounded(master, bits) if bits else master)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for master in self._masters.values():
            master.grad = None
        self._model.zero_grad()

    def _copies(self) -> Iterator[tuple[str, nn.Parameter, torch.Tensor]]:
        for name, parameter in self._model.named_parameters():
            master = self._masters.get(name)
            if master is not None and master is not parameter:
                yield name, parameter, master
