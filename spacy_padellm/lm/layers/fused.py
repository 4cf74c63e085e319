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
from transformers import (
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.layers.elementwise import rms_norm_heads, rotate
from spacy_padellm.lm.layers.int8 import Int8Layer, count_int8_weights, why_no_int8
from spacy_padellm.lm.layers.layer import FloatLayer, HeadNorms, Layer, Norm
from spacy_padellm.lm.layers.onednn import is_packable
from spacy_padellm.lm.layers.projection import (
    ModuleProjection,
    PackedProjection,
    Projection,
)
from spacy_padellm.lm.layers.rotary import Rotary
from spacy_padellm.lm.layers.smoothing import input_ranges

_KINDS = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)

# layer, queries with keys and values, scale -> output (tokens, heads, head size)
Attend = Callable[[int, QKV, float], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a model of a known kind, from token ids to last hidden states.

    heads, shared (int): Query heads, and heads of keys and values.
    size (int): The size of a head.
    is_split (bool): Whether the layers are on several devices.
    """

    model: Any
    layers: Sequence[Layer]
    norm: Norm
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
            qkv = layer.qkv(x).view(tokens, -1, self.size)
            qk = qkv[:, :turned]
            if layer.head_norms is not None:
                qk = self._norm_heads(qk, layer.head_norms)
            query_key = rotate(qk, cos, sin)
            query, key = query_key[:, : self.heads], query_key[:, self.heads :]
            attended = attend(index, QKV(query, key, qkv[:, turned:]), scale)
            x = layer.add_attention(x, attended.reshape(tokens, -1))
            x = layer.add_mlp(x)
        return self.norm(x.to(self.norm.weight.device) if self.is_split else x)

    def _norm_heads(self, qk: torch.Tensor, norms: HeadNorms) -> torch.Tensor:
        weights = [norm.weight for norm in norms]
        return rms_norm_heads(qk, weights, [self.heads, self.shared], norms[0].eps)


def read_layers(model: Any, *, packed: bool = False) -> Layers | None:
    """Get the layers of a model.

    model (transformers.PreTrainedModel): The model.
    packed (bool): Whether to compute with packed copies of the weights.
    RETURNS (Layers | None): None if the model is not of a known kind.
    """
    inner = _find_layers(model)
    if inner is None:
        return None

    def project(*modules: Any) -> Projection:
        packs = packed and all(is_packable(module) for module in modules)
        return (PackedProjection if packs else ModuleProjection)(*modules)

    layers = []
    for layer in inner.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            FloatLayer(
                Norm(layer.input_layernorm),
                project(attention.q_proj, attention.k_proj, attention.v_proj),
                _head_norms(attention),
                project(attention.o_proj),
                Norm(layer.post_attention_layernorm),
                project(mlp.gate_proj),
                project(mlp.up_proj),
                project(mlp.down_proj),
            )
        )
    return _join(inner, layers)


def why_no_int8_layers(model: Any) -> str | None:
    """Why the products of a model's layers cannot be of 8-bit numbers.

    model (transformers.PreTrainedModel): The model.
    RETURNS (str | None): The reason, as part of a sentence; None if they can.
    """
    inner = _find_layers(model)
    if inner is None:
        return (
            f"models of its kind ({model.config.model_type}) have no such layers here"
        )
    return why_no_int8(inner.layers)


def count_int8(model: Any) -> int:
    """How many weights of a model have 8-bit copies.

    model (transformers.PreTrainedModel): A model for which `why_no_int8_layers` gives
        no reason.
    """
    return count_int8_weights(_find_layers(model).layers)


def read_int8_layers(model: Any, tokenizer: Any, *, packed: bool = False) -> Layers:
    """Get the layers of a model with 8-bit copies of their weights.

    model (transformers.PreTrainedModel): A model for which `why_no_int8_layers` gives
        no reason, in evaluation mode.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    packed (bool): Whether to compute the other products with packed copies.
    """
    inner = _find_layers(model)
    firsts = [(layer.self_attn.q_proj, layer.mlp.gate_proj) for layer in inner.layers]
    ranges = input_ranges(model, tokenizer, [part for pair in firsts for part in pair])
    layers = [
        Int8Layer(
            layer,
            head_norms=_head_norms(layer.self_attn),
            attention_inputs=ranges[query],
            mlp_inputs=ranges[gate],
            packed=packed,
        )
        for layer, (query, gate) in zip(inner.layers, firsts, strict=True)
    ]
    return _join(inner, layers)


def _find_layers(model: Any) -> Any:
    """The part of a model that holds its layers; None if it is not of a known kind."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    config = base.config
    known = (
        type(base) in _KINDS
        and config.hidden_act in ("silu", "swish")
        and not config.attention_dropout
    )
    return base.model if known else None


def _head_norms(attention: Any) -> HeadNorms | None:
    if not hasattr(attention, "q_norm"):
        return None
    return Norm(attention.q_norm), Norm(attention.k_norm)


def _join(inner: Any, layers: Sequence[Layer]) -> Layers:
    config = inner.config
    norm, embedded = Norm(inner.norm), inner.embed_tokens.weight.device
    devices = {*(layer.device for layer in layers), norm.weight.device, embedded}
    return Layers(
        inner,
        layers,
        norm,
        Rotary(inner.rotary_emb),
        config.num_attention_heads,
        config.num_key_value_heads,
        inner.layers[0].self_attn.head_dim,
        len(devices) > 1,
    )
