"""A layer of a model, as few operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from spacy_padellm.lm.layers.norms import HeadNorms, Norm
from spacy_padellm.lm.layers.projection import Projection


class Layer(Protocol):
    """The products of a layer, around its attention.

    head_norms (HeadNorms | None): Norms of the heads of queries and keys.
    device (torch.device): The layer's device.
    """

    @property
    def head_norms(self) -> HeadNorms | None: ...

    @property
    def device(self) -> torch.device: ...

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        """Compute queries, keys and values.

        x (torch.Tensor): Hidden states, (tokens, hidden size).
        RETURNS (torch.Tensor): (tokens, heads * head size), queries first.
        """

    def add_attention(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Add the output of the attention to the hidden states.

        x (torch.Tensor): (tokens, hidden size).
        attended (torch.Tensor): (tokens, query heads * head size).
        """

    def add_mlp(self, x: torch.Tensor) -> torch.Tensor:
        """Add the output of the MLP to the hidden states.

        x (torch.Tensor): (tokens, hidden size).
        """


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that computes in the dtype of its weights; see `Layer`.

    mlp (Projection): The MLP, after its norm.
    """

    norm: Norm
    qkv_projection: Projection
    head_norms: HeadNorms | None
    out: Projection
    mlp_norm: Norm
    mlp: Projection

    @property
    def device(self) -> torch.device:
        """See `Layer`."""
        return self.norm.weight.device

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        return self.qkv_projection(self.norm(x))

    def add_attention(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        return x + self.out(attended)

    def add_mlp(self, x: torch.Tensor) -> torch.Tensor:
        """See `Layer`."""
        return x + self.mlp(self.mlp_norm(x))
