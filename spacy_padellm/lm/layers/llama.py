"""The layers of Llama and its relatives: Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.lm.layers.layer import FloatLayer, Layer
from spacy_padellm.lm.layers.mlp import ACTIVATIONS, GatedMLP
from spacy_padellm.lm.layers.norms import HeadNorms, RMSNorm
from spacy_padellm.lm.layers.projection import Project
from spacy_padellm.lm.layers.rotary import Rotary
from spacy_padellm.lm.layers.stack import Heads, Layers, Rotaries


@dataclass(frozen=True, slots=True)
class TokenEmbeddings:
    """The embeddings of a model, which may be exchanged when tokens are added."""

    model: Any

    def __call__(self, ids: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Look up tokens; see `Embed`."""
        embedded: torch.Tensor = self.model.embed_tokens(ids)
        return embedded


def is_plain_llama(model: Any) -> bool:
    """Whether a model computes as Llama does by default.

    model (transformers.PreTrainedModel): A model of Llama or one of its relatives.
    """
    config = model.config
    return config.hidden_act in ("silu", "swish") and not config.attention_dropout


def norm_of(module: Any) -> RMSNorm:
    """Read an RMSNorm of Llama.

    module (torch.nn.Module): The norm.
    """
    return RMSNorm(module, float(module.variance_epsilon))


def head_norms_of(attention: Any) -> HeadNorms | None:
    """Read the norms that Qwen3 has for its heads.

    attention (torch.nn.Module): The attention of a layer.
    """
    if not hasattr(attention, "q_norm"):
        return None
    config = attention.config
    heads = config.num_attention_heads, config.num_key_value_heads
    return HeadNorms(norm_of(attention.q_norm), norm_of(attention.k_norm), heads)


def read_llama(model: Any, project: Project) -> Layers | None:
    """Read the layers of Llama, Mistral, Qwen2 or Qwen3.

    model (transformers.PreTrainedModel): The model.
    project (Project): Makes the products.
    RETURNS (Layers | None): None if it computes otherwise.
    """
    if not is_plain_llama(model):
        return None
    activation = ACTIVATIONS[model.config.hidden_act]
    layers = []
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            FloatLayer(
                norm_of(layer.input_layernorm),
                project(attention.q_proj, attention.k_proj, attention.v_proj),
                head_norms_of(attention),
                project(attention.o_proj),
                norm_of(layer.post_attention_layernorm),
                GatedMLP(
                    project(mlp.gate_proj),
                    project(mlp.up_proj),
                    project(mlp.down_proj),
                    activation,
                ),
            )
        )
    return join_llama(model.model, layers)


def join_llama(inner: Any, layers: Sequence[Layer]) -> Layers:
    """Join the layers of Llama.

    inner (torch.nn.Module): The model without its vocabulary head.
    layers (Sequence[Layer]): Its layers.
    """
    config, size = inner.config, inner.layers[0].self_attn.head_dim
    return Layers(
        TokenEmbeddings(inner),
        layers,
        norm_of(inner.norm),
        Heads(config.num_attention_heads, config.num_key_value_heads, size, size**-0.5),
        Rotaries([Rotary(inner.rotary_emb)], [0] * len(layers)),
        stored_weight(inner.embed_tokens).device,
    )
