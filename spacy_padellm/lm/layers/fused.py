"""The layers of well-known models, run with fewer and larger operations.

Transformers runs a layer as some sixty operations in twenty modules. The layers of
Llama and its relatives are the same few products, so one function runs them all: one
product for queries, keys and values, and few operations between the products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import (
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.layers.elementwise import rms_norm, rms_norm_heads, rotate
from spacy_padellm.lm.layers.onednn import is_packable
from spacy_padellm.lm.layers.projection import (
    ModuleProjection,
    PackedProjection,
    Projection,
)
from spacy_padellm.lm.layers.rotary import Rotary

_KINDS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)

# layer, queries with keys and values, scale -> output (tokens, heads, head size)
Attend = Callable[[int, QKV, float], torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Norm:
    module: Any

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        module = self.module
        return rms_norm(x, module.weight, module.variance_epsilon)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.module.weight.device
        return device


@dataclass(frozen=True, slots=True)
class _Layer:
    """The parts of a layer; `head_norms` are those of Qwen3's queries and keys."""

    norm: _Norm
    qkv: Projection
    head_norms: tuple[_Norm, _Norm] | None
    out: Projection
    mlp_norm: _Norm
    gate: Projection
    up: Projection
    down: Projection

    @property
    def device(self) -> torch.device:
        """The layer's device."""
        return self.norm.device


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a model of a known kind, from token ids to last hidden states.

    heads, shared (int): Query heads, and heads of keys and values.
    size (int): The size of a head.
    is_split (bool): Whether the layers are on several devices.
    """

    model: Any
    layers: Sequence[_Layer]
    norm: _Norm
    rotary: Rotary
    heads: int
    shared: int
    size: int
    is_split: bool

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, attend: Attend
    ) -> torch.Tensor:
        """Run the layers.

        ids, positions (int64): (tokens,), token ids and position ids.
        attend (Attend): Computes the attention of a layer.
        RETURNS (torch.Tensor): The last hidden states, (tokens, hidden size).
        """
        x = self.model.embed_tokens(ids)
        cos, sin = self.rotary(x, positions)
        tokens, turned = x.shape[0], self.heads + self.shared
        scale = self.size**-0.5
        for index, layer in enumerate(self.layers):
            if self.is_split:
                x, cos, sin = (part.to(layer.device) for part in (x, cos, sin))
            qkv = layer.qkv(layer.norm(x)).view(tokens, -1, self.size)
            qk = qkv[:, :turned]
            if layer.head_norms is not None:
                qk = self._norm_heads(qk, layer.head_norms)
            query_key = rotate(qk, cos, sin)
            query, key = query_key[:, : self.heads], query_key[:, self.heads :]
            attended = attend(index, QKV(query, key, qkv[:, turned:]), scale)
            x = x + layer.out(attended.reshape(tokens, -1))
            hidden = layer.mlp_norm(x)
            x = x + layer.down(F.silu(layer.gate(hidden)) * layer.up(hidden))
        return self.norm(x.to(self.norm.device) if self.is_split else x)

    def _norm_heads(self, qk: torch.Tensor, norms: tuple[_Norm, _Norm]) -> torch.Tensor:
        weights = [norm.module.weight for norm in norms]
        eps = norms[0].module.variance_epsilon
        return rms_norm_heads(qk, weights, [self.heads, self.shared], eps)


def read_layers(model: Any, *, packed: bool = False) -> Layers | None:
    """Get the layers of a model.

    model (transformers.PreTrainedModel): The model.
    packed (bool): Whether to compute with packed copies of the weights.
    RETURNS (Layers | None): None if the model is not of a known kind.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    config = base.config
    if (
        type(base) not in _KINDS
        or config.hidden_act not in ("silu", "swish")
        or config.attention_dropout
    ):
        return None
    inner = base.model
    layers = []

    def project(*modules: Any) -> Projection:
        packs = packed and all(is_packable(module) for module in modules)
        return (PackedProjection if packs else ModuleProjection)(*modules)

    for layer in inner.layers:
        attention, mlp = layer.self_attn, layer.mlp
        norms = None
        if hasattr(attention, "q_norm"):
            norms = _Norm(attention.q_norm), _Norm(attention.k_norm)
        layers.append(
            _Layer(
                _Norm(layer.input_layernorm),
                project(attention.q_proj, attention.k_proj, attention.v_proj),
                norms,
                project(attention.o_proj),
                _Norm(layer.post_attention_layernorm),
                project(mlp.gate_proj),
                project(mlp.up_proj),
                project(mlp.down_proj),
            )
        )
    size = inner.layers[0].self_attn.head_dim
    heads = config.num_attention_heads, config.num_key_value_heads
    norm, rotary = _Norm(inner.norm), Rotary(inner.rotary_emb)
    devices = {part.device for part in (*layers, norm, inner.embed_tokens.weight)}
    return Layers(inner, layers, norm, rotary, *heads, size, len(devices) > 1)
