"""The layers of GPT-2: learnt positions, biases, and an MLP without a gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.lm.layers.layer import FloatLayer
from spacy_padellm.lm.layers.mlp import ACTIVATIONS, PlainMLP
from spacy_padellm.lm.layers.norms import LayerNorm
from spacy_padellm.lm.layers.projection import Project
from spacy_padellm.lm.layers.stack import Heads, Layers, Rotaries


@dataclass(frozen=True, slots=True)
class PositionedEmbeddings:
    """The embeddings of a model's tokens, and of their positions."""

    model: Any

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Add both; see `Embed`."""
        tokens: torch.Tensor = self.model.wte(ids)
        places: torch.Tensor = self.model.wpe(positions)
        return tokens + places.to(tokens.device)


def read_gpt2(model: Any, project: Project) -> Layers | None:
    """Read the layers of GPT-2.

    model (transformers.GPT2LMHeadModel): The model.
    project (Project): Makes the products.
    RETURNS (Layers | None): None if it computes otherwise than GPT-2 by default.
    """
    inner, config = model.transformer, model.config
    activation = ACTIVATIONS.get(config.activation_function)
    if activation is None or _is_unusual(config):
        return None
    layers = [
        FloatLayer(
            LayerNorm(layer.ln_1),
            project(layer.attn.c_attn),
            None,
            project(layer.attn.c_proj),
            LayerNorm(layer.ln_2),
            PlainMLP(project(layer.mlp.c_fc), project(layer.mlp.c_proj), activation),
        )
        for layer in inner.h
    ]
    size = config.n_embd // config.n_head
    return Layers(
        PositionedEmbeddings(inner),
        layers,
        LayerNorm(inner.ln_f),
        Heads(config.n_head, config.n_head, size, size**-0.5),
        Rotaries(),
        stored_weight(inner.wte).device,
        drops=any((config.attn_pdrop, config.embd_pdrop, config.resid_pdrop)),
    )


def _is_unusual(config: Any) -> bool:
    """Whether settings change the attention."""
    return (
        not config.scale_attn_weights
        or config.scale_attn_by_inverse_layer_idx
        or config.reorder_and_upcast_attn
        or config.add_cross_attention
        or bool(getattr(config, "pruned_heads", None))
    )
