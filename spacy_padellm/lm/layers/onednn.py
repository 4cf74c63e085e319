"""Weights in the layout of the CPU's matrix kernels, for forward passes of few tokens.

Without it, a bfloat16 product of a few rows spends half its time converting the layout
of the weights. The packed weights are a copy; everything else uses the plain weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from transformers.pytorch_utils import Conv1D

from spacy_padellm.compat.onednn import onednn_has_bf16, onednn_linear, onednn_pack

MOST_BYTES = 2 << 30  # memory limit of all packed weights
_LEAST_WEIGHTS = 1 << 20  # per layer; smaller layers gain nothing
_MOST_ROWS = 128  # per product; larger products gain nothing


def prepack(model: torch.nn.Module) -> int:
    """Pack the large linear layers of a model that is no longer trained.

    Only bfloat16 weights on the CPU are packed, and only if oneDNN can run its bfloat16
    kernels and the packed weights take at most MOST_BYTES.

    model (torch.nn.Module): The model.
    RETURNS (int): The number of packed layers.
    """
    if not can_pack(model):
        return 0
    layers = [
        layer
        for layer in _packable(model)
        if layer.weight.numel() >= _LEAST_WEIGHTS and not isinstance(layer, Conv1D)
    ]
    for layer in layers:
        layer.forward = _Packed(layer)
    return len(layers)


def can_pack(model: torch.nn.Module) -> bool:
    """Whether a model has weights that can be packed, of at most MOST_BYTES.

    model (torch.nn.Module): The model.
    """
    size = sum(2 * layer.weight.numel() for layer in _packable(model))
    return 0 < size <= MOST_BYTES and onednn_has_bf16()


def is_packable(module: torch.nn.Module) -> bool:
    """Whether a module is a linear layer with bfloat16 weights on the CPU.

    GPT-2's are of a class of their own.

    Adapters are modules of other kinds, or have float32 weights.

    module (torch.nn.Module): A part of a model.
    """
    if type(module) not in (torch.nn.Linear, Conv1D):
        return False
    weight = module.weight
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16


def weight_of(module: Any) -> torch.Tensor:
    """Get the weight of a linear layer: (outputs, inputs).

    module (torch.nn.Module): The layer, which is packable.
    """
    weight: torch.Tensor = module.weight.detach()
    return weight.T if isinstance(module, Conv1D) else weight


def _packable(model: torch.nn.Module) -> list[Any]:
    return [module for module in model.modules() if is_packable(module)]


@dataclass(eq=False, slots=True)
class _Packed:
    """The forward function of a layer; it packs the weight at its first use."""

    layer: torch.nn.Linear
    weight: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        few = x.numel() <= _MOST_ROWS * layer.in_features
        # a copy of the model may be on another device
        fits = x.device.type == "cpu" and x.dtype == torch.bfloat16
        if not (few and fits) or torch.is_grad_enabled():
            return F.linear(x, layer.weight, layer.bias)
        if self.weight is None:
            self.weight = onednn_pack(layer.weight.detach(), _MOST_ROWS)
        return onednn_linear(x, self.weight, layer.bias)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Packed:
        return _Packed(copy.deepcopy(self.layer, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return _repacked, (self.layer,)


def _repacked(layer: torch.nn.Linear) -> Any:
    """The forward function of a layer that was pickled, perhaps on another machine."""
    if onednn_has_bf16():
        return _Packed(layer)
    return MethodType(torch.nn.Linear.forward, layer)


def unpack(model: torch.nn.Module) -> None:
    """Let a model that will be trained use its plain weights again."""
    for module in model.modules():
        if isinstance(vars(module).get("forward"), _Packed):
            del module.forward
