"""The layers of Gemma and Gemma 3.

Gemma 2 caps its attention scores and its logits, which is left to transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.lm.layers.layer import FloatLayer
from spacy_padellm.lm.layers.llama import TokenEmbeddings
from spacy_padellm.lm.layers.mlp import ACTIVATIONS, Activation, GatedMLP
from spacy_padellm.lm.layers.norms import HeadNorms, RMSNorm
from spacy_padellm.lm.layers.projection import NormedProjection, Project
from spacy_padellm.lm.layers.rotary import Rotary
from spacy_padellm.lm.layers.stack import Embed, Heads, Layers, Rotaries


@dataclass(frozen=True, slots=True)
class ScaledEmbeddings:
    """The embeddings of a model's tokens, times a factor."""

    model: Any
    factor: float

    def __call__(self, ids: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Look up tokens; see `Embed`."""
        embedded: torch.Tensor = self.model.embed_tokens(ids)
        # rounded as in transformers
        factor = torch.tensor(self.factor, dtype=embedded.dtype, device="cpu")
        return embedded * factor


def read_gemma(model: Any, project: Project) -> Layers | None:
    """Read the layers of Gemma.

    model (transformers.GemmaForCausalLM): The model.
    project (Project): Makes the products.
    RETURNS (Layers | None): None if it computes otherwise than Gemma by default.
    """
    inner, config = model.model, model.config
    activation = ACTIVATIONS.get(config.hidden_act)
    if activation is None or config.attention_dropout:
        return None
    layers = [
        FloatLayer(
            _norm(layer.input_layernorm),
            _project_inputs(layer, project),
            None,
            project(layer.self_attn.o_proj),
            _norm(layer.post_attention_layernorm),
            _gated(layer.mlp, project, activation),
        )
        for layer in inner.layers
    ]
    rotaries = Rotaries([Rotary(inner.rotary_emb)], [0] * len(layers))
    return _join(inner, layers, rotaries, scale=config.head_dim**-0.5)


def read_gemma3(model: Any, project: Project) -> Layers | None:
    """Read the layers of a Gemma 3 that reads texts alone.

    Sliding windows are those of a tree, whose sequences are not longer than a window:
    see `why_no_tree`.

    model (transformers.Gemma3ForCausalLM): The model.
    project (Project): Makes the products.
    RETURNS (Layers | None): None if it computes otherwise than Gemma 3 by default.
    """
    inner, config = model.model, model.config
    activation = ACTIVATIONS.get(config.hidden_activation)
    caps = config.final_logit_softcapping or config.attn_logit_softcapping
    if activation is None or config.attention_dropout or caps:
        return None
    heads = config.num_attention_heads, config.num_key_value_heads
    layers = []
    for layer in inner.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            FloatLayer(
                _norm(layer.input_layernorm),
                _project_inputs(layer, project),
                HeadNorms(_norm(attention.q_norm), _norm(attention.k_norm), heads),
                NormedProjection(
                    project(attention.o_proj), _norm(layer.post_attention_layernorm)
                ),
                _norm(layer.pre_feedforward_layernorm),
                NormedProjection(
                    _gated(mlp, project, activation),
                    _norm(layer.post_feedforward_layernorm),
                ),
            )
        )
    scale = config.query_pre_attn_scalar**-0.5
    return _join(inner, layers, _rotaries(inner), scale=scale)


def _norm(module: Any) -> RMSNorm:
    return RMSNorm(module, float(module.eps), plus_one=True)


def _project_inputs(layer: Any, project: Project) -> Any:
    attention = layer.self_attn
    return project(attention.q_proj, attention.k_proj, attention.v_proj)


def _gated(mlp: Any, project: Project, activation: Activation) -> GatedMLP:
    return GatedMLP(
        project(mlp.gate_proj), project(mlp.up_proj), project(mlp.down_proj), activation
    )


def _rotaries(inner: Any) -> Rotaries:
    """The rotary embeddings of layers that see a window, and of those that see all.

    Each layer is asked for its kind: an adapter may repeat layers, and leaves the
    config's list of kinds as it was.
    """
    of_layer = [_kind(layer) for layer in inner.layers]
    kinds = sorted(set(of_layer))
    if hasattr(inner, "rotary_emb_local"):  # before transformers 5
        local = {"sliding_attention": inner.rotary_emb_local}
        found = [Rotary(local.get(kind, inner.rotary_emb)) for kind in kinds]
    else:
        found = [Rotary(inner.rotary_emb, kind) for kind in kinds]
    return Rotaries(found, [kinds.index(kind) for kind in of_layer])


def _kind(layer: Any) -> str:
    return "sliding_attention" if layer.self_attn.is_sliding else "full_attention"


def _join(
    inner: Any, layers: Sequence[FloatLayer], rotaries: Rotaries, *, scale: float
) -> Layers:
    config, embeddings = inner.config, inner.embed_tokens
    embed: Embed = TokenEmbeddings(inner)
    # not in Gemma before transformers 5; peft may have put it one level down
    if not any(hasattr(module, "embed_scale") for module in embeddings.modules()):
        embed = ScaledEmbeddings(inner, config.hidden_size**0.5)
    return Layers(
        embed,
        layers,
        _norm(inner.norm),
        Heads(
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            scale,
        ),
        rotaries,
        stored_weight(embeddings).device,
    )
