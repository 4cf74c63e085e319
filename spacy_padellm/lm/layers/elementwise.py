"""Operations between the matrix products of a layer, with few kernels.

In transformers each of them is up to ten operations, and on a CPU together they take
longer than the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, eps: float, *, plus_one: bool = False
) -> torch.Tensor:
    """Divide vectors by their root mean square (Zhang and Sennrich, 2019).

    x (torch.Tensor): (rows, size).
    weight (torch.Tensor): (size,), of the dtype of `x`; multiplied in the end.
    eps (float): Added to the mean square.
    plus_one (bool): Whether one is added to the weight, which is not rounded then.
    RETURNS (torch.Tensor): (rows, size).
    """
    if x.device.type != "cpu":
        if plus_one:
            normed = F.rms_norm(x, weight.shape, None, eps)
            return torch.addcmul(normed, normed, weight)
        return F.rms_norm(x, weight.shape, weight, eps)
    if torch.is_grad_enabled():
        factor = weight.float() + 1 if plus_one else weight
        output: torch.Tensor = _RMSNorm.apply(x, factor, eps)  # type: ignore[no-untyped-call]
        return output
    normed = _normalize(x, mean_square(x), eps)
    return normed.addcmul_(normed, weight) if plus_one else normed.mul_(weight)


def rms_norm_heads(
    x: torch.Tensor,
    weights: Sequence[torch.Tensor],
    heads: Sequence[int],
    eps: float,
    *,
    plus_one: bool = False,
) -> torch.Tensor:
    """Normalize groups of heads, each with a weight of its own; see `rms_norm`.

    x (torch.Tensor): (tokens, heads, size).
    weights (Sequence[torch.Tensor]): The weight of each group, (size,).
    heads (Sequence[int]): The number of heads of each group.
    eps, plus_one: See `rms_norm`.
    RETURNS (torch.Tensor): (tokens, heads, size).
    """
    size = x.shape[-1]
    if x.device.type == "cpu" and not torch.is_grad_enabled():
        rows = x.reshape(-1, size)
        normed = _normalize(rows, mean_square(rows), eps).view(x.shape)
        pairs = zip(weights, heads, strict=True)
        weight = torch.cat([w.expand(count, size) for w, count in pairs])
        return normed.addcmul_(normed, weight) if plus_one else normed.mul_(weight)
    groups = zip(x.split(list(heads), 1), weights, strict=True)
    normed_groups = [
        rms_norm(group.reshape(-1, size), w, eps, plus_one=plus_one).view(group.shape)
        for group, w in groups
    ]
    return torch.cat(normed_groups, 1)


def mean_square(x: torch.Tensor) -> torch.Tensor:
    """Compute the mean of the squares of each vector, in float32.

    x (torch.Tensor): (..., size).
    RETURNS (float32): (...).
    """
    norm: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    # one operation fewer than a square and a division
    return torch.addcmul(torch.zeros_like(norm), norm, norm, value=1 / x.shape[-1])


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply rotary position embeddings (Su et al., 2021).

    x (torch.Tensor): (tokens, heads, size).
    cos, sin (torch.Tensor): (tokens, 1, size); the first half of `sin` is negative.
    RETURNS (torch.Tensor): (tokens, heads, size).
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _normalize(x: torch.Tensor, squares: torch.Tensor, eps: float) -> torch.Tensor:
    # batch normalization with the rows as channels: one kernel, computed in float32
    zeros = torch.zeros_like(squares)
    return torch.batch_norm(
        x[None], None, None, zeros, squares, False, 0.0, eps, False
    )[0]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        squares = mean_square(x)
        ctx.save_for_backward(x, weight, squares)
        ctx.eps = eps
        return _normalize(x, squares, eps).mul_(weight)

    @staticmethod
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        x, weight, squares = ctx.saved_tensors
        size = x.shape[-1]
        scale = squares.add(ctx.eps).rsqrt_()[:, None]
        # the backward pass of layer normalization around a mean of zero
        dx, dw, _ = torch.ops.aten.native_layer_norm_backward(
            gradient,
            x,
            [size],
            torch.zeros_like(scale),
            scale,
            weight.float(),
            None,
            [True, ctx.needs_input_grad[1], False],
        )
        # it takes the gradient of that mean away: give it back
        mean = (
            torch.mv(gradient, weight.to(gradient.dtype))
            .float()[:, None]
            .mul_(scale)
            .div_(size)
        )
        dw = dw.to(weight.dtype) if ctx.needs_input_grad[1] else None
        return dx.add_(mean.to(dx.dtype)), dw, None
