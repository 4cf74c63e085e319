"""The norms of a model's layers, computed with few operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from spacy_padellm.lm.layers.elementwise import rms_norm, rms_norm_heads


class Norm(Protocol):
    """A norm of hidden states."""

    @property
    def weight(self) -> torch.Tensor:
        """(size,)."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize vectors.

        x (torch.Tensor): (rows, size).
        RETURNS (torch.Tensor): (rows, size).
        """


@dataclass(frozen=True, slots=True)
class RMSNorm:
    """An RMSNorm module of a model; see `rms_norm`.

    eps (float): Added to the mean square.
    plus_one (bool): Whether one is added to the weight, as in Gemma.
    """

    module: Any
    eps: float
    plus_one: bool = False

    @property
    def weight(self) -> torch.Tensor:
        """See `Norm`."""
        weight: torch.Tensor = self.module.weight
        return weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Norm`."""
        return rms_norm(x, self.weight, self.eps, plus_one=self.plus_one)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """A LayerNorm module of a model."""

    module: Any

    @property
    def weight(self) -> torch.Tensor:
        """See `Norm`."""
        weight: torch.Tensor = self.module.weight
        return weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Norm`."""
        module = self.module
        return F.layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """The norms of the heads of queries and of keys.

    query, key (RMSNorm): The norms, with the same `eps`.
    heads (tuple[int, int]): The number of heads of queries, and of keys.
    """

    query: RMSNorm
    key: RMSNorm
    heads: tuple[int, int]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize heads.

        x (torch.Tensor): (tokens, heads, size), queries first.
        RETURNS (torch.Tensor): (tokens, heads, size).
        """
        weights = self.query.weight, self.key.weight
        return rms_norm_heads(
            x, weights, self.heads, self.query.eps, plus_one=self.query.plus_one
        )
