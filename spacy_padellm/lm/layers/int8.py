"""Layers with products of 8-bit numbers, which a CPU computes twice as fast.

Each token's inputs and each output's weights have a scale of their own (ZeroQuant, Yao
et al., 2022). In the last product of the MLP some inputs are so much larger than the
others that it would make half of all errors. It stays in the dtype of the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from spacy_padellm.compat.onednn import (
    onednn_has_int8,
    onednn_linear_int8,
    onednn_pack_int8,
)
from spacy_padellm.lm.layers.elementwise import mean_square
from spacy_padellm.lm.layers.llama import head_norms_of, norm_of
from spacy_padellm.lm.layers.norms import RMSNorm
from spacy_padellm.lm.layers.onednn import is_packable
from spacy_padellm.lm.layers.projection import ModuleProjection, PackedProjection
from spacy_padellm.lm.layers.spreading import spread, spreading

_ROWS = 128  # of the inputs that the packed layout is best for
_WEIGHT_LEVELS = 127.0
# a little less than 127, so that no rounding passes it
_LEVELS = 126.4
_LEAST = 1e-30  # a scale that divides


def why_no_int8(layers: Iterable[Any]) -> str | None:
    """Why layers cannot be computed with 8-bit numbers.

    layers (Iterable[torch.nn.Module]): Layers of a known kind.
    RETURNS (str | None): The reason, as part of a sentence; None if they can.
    """
    if not onednn_has_int8():
        return "this processor has no instructions for 8-bit products (VNNI or AMX)"
    for layer in layers:
        attention, mlp = layer.self_attn, layer.mlp
        inputs = attention.q_proj, attention.k_proj, attention.v_proj
        others = attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj
        if any(type(module) is not torch.nn.Linear for module in (*inputs, *others)):
            return "it has adapters, or weights in few bits"
        if any(module.bias is not None for module in others):
            return "its layers have biases"
        if any(module.weight.device.type != "cpu" for module in (*inputs, *others)):
            return "it is on a GPU"
    return None


def count_int8_weights(layers: Iterable[Any]) -> int:
    """How many weights have 8-bit copies.

    layers (Iterable[torch.nn.Module]): Layers for which `why_no_int8` gives no reason.
    """
    return sum(
        module.weight.numel()
        for layer in layers
        for part in (layer.self_attn, layer.mlp)
        for module in part.children()
        if type(module) is torch.nn.Linear and module is not layer.mlp.down_proj
    )


@dataclass(frozen=True, slots=True)
class Codes:
    """Rows of 8-bit numbers.

    values (uint8): (rows, size); 128 stands for zero.
    scale (float32): (rows, 1); a row is its values less 128, times its scale, divided
        by `_LEVELS`.
    """

    values: torch.Tensor
    scale: torch.Tensor


def quantize(x: torch.Tensor) -> Codes:
    """Round rows to 8-bit numbers, each with a scale of its own.

    x (torch.Tensor): (rows, size).
    """
    scale = x.abs().amax(1, keepdim=True).float().clamp_(min=_LEAST)
    codes = (x * (_LEVELS / scale)).round_().to(torch.int8)
    # a cast to uint8 takes ten times as long
    return Codes(codes.view(torch.uint8).bitwise_xor_(128), scale)


class Int8Projection:
    """Linear layers with the same inputs, whose outputs are joined."""

    def __init__(self, *weights: torch.Tensor) -> None:
        """Quantize the weights, each output with a scale of its own.

        weights (torch.Tensor): (outputs, inputs) each.
        """
        weight = torch.cat(weights).float()
        scales = weight.abs().amax(1).clamp_(min=_LEAST) / _WEIGHT_LEVELS
        codes = (weight / scales[:, None]).round_().to(torch.int8)
        self._weight = onednn_pack_int8(codes, _ROWS)
        self._scales = scales / _LEVELS
        self._zeros = torch.zeros_like(scales, dtype=torch.int32)

    def __call__(self, codes: Codes, dtype: torch.dtype) -> torch.Tensor:
        """Compute the joined outputs, without the scales of the rows.

        codes (Codes): The inputs.
        dtype (torch.dtype): Of the outputs.
        RETURNS (torch.Tensor): (rows, outputs of all layers); to be multiplied with
            `codes.scale`.
        """
        return onednn_linear_int8(
            codes.values, self._weight, self._scales, zeros=self._zeros, dtype=dtype
        )


class SpreadProjection:
    """A norm and the linear layers after it, whose inputs are spread."""

    def __init__(self, norm: RMSNorm, *modules: Any) -> None:
        """Quantize the weights.

        norm (RMSNorm): The norm of the inputs.
        modules (torch.nn.Linear): The layers.
        """
        self._norm = norm.weight.detach()
        self._eps = norm.eps
        matrix = spreading(len(self._norm))
        self._matrix = matrix.to(self._norm.dtype)
        weights = (module.weight.detach().float() for module in modules)
        self._projection = Int8Projection(*(spread(w, matrix) for w in weights))

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the joined outputs.

        x (torch.Tensor): Hidden states, (rows, size).
        RETURNS (tuple[torch.Tensor, torch.Tensor]): The outputs (rows, outputs), and
            their scales (rows, 1), in the dtype of `x`.
        """
        codes = quantize(spread(x * self._norm, self._matrix))
        # codes are the same for a row of any length: it is divided out in the scale
        length = torch.rsqrt(mean_square(x).add_(self._eps))[:, None]
        return self._projection(codes, x.dtype), (codes.scale * length).to(x.dtype)


class Int8Layer:
    """A layer with 8-bit products; see `Layer`."""

    def __init__(self, layer: Any, *, packed: bool) -> None:
        """Quantize the weights of a layer.

        layer (torch.nn.Module): The layer, on the CPU.
        packed (bool): Whether to compute the last product with packed weights.
        """
        attention, mlp = layer.self_attn, layer.mlp
        self.head_norms = head_norms_of(attention)
        self.device = attention.o_proj.weight.device
        inputs = attention.q_proj, attention.k_proj, attention.v_proj
        self._qkv = SpreadProjection(norm_of(layer.input_layernorm), *inputs)
        self._bias = None
        if inputs[0].bias is not None:
            self._bias = torch.cat([module.bias.detach() for module in inputs])
        self._out = Int8Projection(attention.o_proj.weight.detach())
        mlp_norm = norm_of(layer.post_attention_layernorm)
        self._gate_up = SpreadProjection(mlp_norm, mlp.gate_proj, mlp.up_proj)
        packs = packed and is_packable(mlp.down_proj)
        self._down = (PackedProjection if packs else ModuleProjection)(mlp.down_proj)

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        outputs, scale = self._qkv(x)
        if self._bias is not None:
            return torch.addcmul(self._bias, outputs, scale)
        return outputs.mul_(scale)

    def add_attention(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        codes = quantize(attended)
        return torch.addcmul(x, self._out(codes, x.dtype), codes.scale.to(x.dtype))

    def add_mlp(self, x: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        outputs, scale = self._gate_up(x)
        gate, up = outputs.chunk(2, -1)
        # `up` is scaled after the next product, which has fewer outputs
        hidden = F.silu(gate * scale, inplace=True).mul_(up)
        return torch.addcmul(x, self._down(hidden), scale)
