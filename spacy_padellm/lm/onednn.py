"""Weights in the layout of the CPU's matrix kernels, for passes of few tokens.

A product of a few rows in bfloat16 otherwise spends half its time laying the weights
out anew. The packed weights stand beside the plain ones, which all else goes on using.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

MOST_BYTES = 2 << 30  # of all packed weights: what they cost in memory
_LEAST_WEIGHTS = 1 << 20  # of a layer; smaller ones gain nothing
_MOST_ROWS = 128  # of a product; larger ones gain nothing


def prepack(model: torch.nn.Module) -> int:
    """Pack the large linear layers of a model that is not trained any more.

    Nothing is done on other devices, in other dtypes, where torch has no oneDNN or the
    processor no instructions that its bfloat16 kernels need, or for models of more than
    MOST_BYTES.

    model (torch.nn.Module): The model.
    RETURNS (int): How many layers were packed.
    """
    layers = [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.bfloat16
        and module.weight.numel() >= _LEAST_WEIGHTS
    ]
    size = sum(2 * layer.weight.numel() for layer in layers)
    if size > MOST_BYTES or not has_kernels():
        return 0
    for layer in layers:
        layer.forward = _Packed(layer)  # type: ignore[method-assign, assignment]
    return len(layers)


def has_kernels() -> bool:
    """Whether oneDNN is there, and the processor runs its bfloat16 kernels."""
    available = torch.backends.mkldnn.is_available()
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(eq=False, slots=True)
class _Packed:
    """The forward function of a layer, which packs its weights at first use."""

    layer: torch.nn.Linear
    weight: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        few = x.numel() <= _MOST_ROWS * layer.in_features
        # a copy of the model may stand on another device
        fits = x.device.type == "cpu" and x.dtype == torch.bfloat16
        if not (few and fits) or torch.is_grad_enabled():
            return F.linear(x, layer.weight, layer.bias)
        if self.weight is None:
            plain = layer.weight.detach()
            self.weight = torch.ops.mkldnn._reorder_linear_weight(plain, _MOST_ROWS)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, layer.bias, "none", [], ""
        )
        return product

    def __deepcopy__(self, memo: dict[int, Any]) -> _Packed:
        return _Packed(copy.deepcopy(self.layer, memo))
