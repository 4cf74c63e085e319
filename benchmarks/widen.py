"""Embeds a small model in a larger shape, so that it gives the same answers."""

from __future__ import annotations

from typing import Any

import torch

from spacy_padellm.benchmark.subjects.shapes import ModelShape

MARK = 1e-3  # of the rows that are tokens, in a dimension that no layer uses
NO_TOKEN = -1000.0  # logit of the other rows, apart from the norm's factor


def widened(model: Any, shape: ModelShape) -> Any:
    """Embed a Qwen3 model in a larger shape.

    It does the work of a model of that shape and gives the same answers up to rounding:
    added weights are zero, or are only multiplied with zeros.

    model (transformers.Qwen3ForCausalLM): The model, with tied embeddings.
    shape (ModelShape): A shape of Qwen3, no size smaller than the model's.
    RETURNS (transformers.Qwen3ForCausalLM): A new model with the same dtype.
    """
    old = model.config
    config = type(old).from_dict(
        {
            **old.to_dict(),
            **shape.config(),
            "layer_types": ["full_attention"] * shape.layers,
            # the mean of squares is over more dimensions
            "rms_norm_eps": old.rms_norm_eps * old.hidden_size / shape.hidden,
        }
    )
    wide = type(model)(config).to(model.dtype)
    with torch.no_grad():
        for weight in wide.parameters():
            weight.zero_()
        for layer, source in zip(wide.model.layers, model.model.layers, strict=False):
            _fill_layer(layer, source, old, shape)
        _fill_ends(wide, model, shape)
    return wide


def _fill_layer(layer: Any, source: Any, old: Any, shape: ModelShape) -> None:
    width, size = old.hidden_size, old.head_dim
    narrower = (width / shape.hidden) ** 0.5
    for name in ("input_layernorm", "post_attention_layernorm"):
        getattr(layer, name).weight[:width] = getattr(source, name).weight * narrower
    for name in ("gate_proj", "up_proj", "down_proj"):
        small = getattr(source.mlp, name).weight
        getattr(layer.mlp, name).weight[: small.shape[0], : small.shape[1]] = small
    # each rotary frequency goes to the dimensions with the same one in the larger head
    step = shape.head_size // size
    dims = torch.arange(size // 2) * step
    dims = torch.cat([dims, dims + shape.head_size // 2])
    spread = {"q_proj": dims, "k_proj": dims, "v_proj": torch.arange(size)}
    # neighbouring query heads share a key head: keep them in the same groups
    groups_old = old.num_attention_heads // old.num_key_value_heads
    groups = shape.heads // shape.key_value_heads
    heads = torch.arange(old.num_attention_heads)
    places = heads // groups_old * groups + heads % groups_old
    attention, source_attention = layer.self_attn, source.self_attn
    for name, inside in spread.items():
        at = places if name == "q_proj" else torch.arange(old.num_key_value_heads)
        rows = (at[:, None] * shape.head_size + inside).flatten()
        getattr(attention, name).weight[rows, :width] = getattr(
            source_attention, name
        ).weight
    columns = (places[:, None] * shape.head_size + torch.arange(size)).flatten()
    output = torch.zeros_like(attention.o_proj.weight)
    output[:width].index_copy_(1, columns, source_attention.o_proj.weight)
    attention.o_proj.weight.copy_(output)
    fewer = (size / shape.head_size) ** 0.5
    attention.k_norm.weight[dims] = source_attention.k_norm.weight * fewer
    # attention scores are divided by the root of the larger head size
    attention.q_norm.weight[dims] = source_attention.q_norm.weight


def _fill_ends(wide: Any, model: Any, shape: ModelShape) -> None:
    """Fill the embeddings, and the norm before the vocabulary projection."""
    old = model.config
    width = old.hidden_size
    embeddings = wide.model.embed_tokens.weight
    embeddings[: old.vocab_size, :width] = model.model.embed_tokens.weight
    narrower = (width / shape.hidden) ** 0.5
    wide.model.norm.weight[:width] = model.model.norm.weight * narrower
    if shape.vocabulary > old.vocab_size:
        if shape.hidden == width:
            raise ValueError("a larger vocabulary needs a larger hidden size")
        embeddings[: old.vocab_size, width] = MARK
        embeddings[old.vocab_size :, width] = 1.0
        wide.model.norm.weight[width] = NO_TOKEN / MARK
