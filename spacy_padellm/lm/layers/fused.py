"""The layers of well-known models, run with fewer and larger operations.

Transformers runs a layer as some sixty operations in twenty modules. The layers of
well-known models are the same few products, so one function runs them all: one product
for queries, keys and values, and few operations between the products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import (
    Gemma3ForCausalLM,
    GemmaForCausalLM,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from spacy_padellm.compat.peft import base_model, stored_weight
from spacy_padellm.compat.torch import cpu_has_amx
from spacy_padellm.lm.layers.gemma import read_gemma, read_gemma3
from spacy_padellm.lm.layers.gpt2 import read_gpt2
from spacy_padellm.lm.layers.int8 import Int8Layer, count_int8_weights, why_no_int8
from spacy_padellm.lm.layers.llama import is_plain_llama, join_llama, read_llama
from spacy_padellm.lm.layers.onednn import is_packable
from spacy_padellm.lm.layers.projection import (
    ModuleProjection,
    PackedProjection,
    Project,
    Projection,
)
from spacy_padellm.lm.layers.stack import Layers

_WIDE = 512  # in narrower layers, rounding takes as long as it saves
_READERS: Mapping[type, Callable[[Any, Project], Layers | None]] = {
    LlamaForCausalLM: read_llama,
    MistralForCausalLM: read_llama,
    Qwen2ForCausalLM: read_llama,
    Qwen3ForCausalLM: read_llama,
    GemmaForCausalLM: read_gemma,
    Gemma3ForCausalLM: read_gemma3,
    GPT2LMHeadModel: read_gpt2,
}


def read_layers(model: Any, *, packed: bool = False) -> Layers | None:
    """Get the layers of a model.

    model (transformers.PreTrainedModel): The model.
    packed (bool): Whether to compute with packed copies of the weights.
    RETURNS (Layers | None): None if the model is not of a known kind.
    """
    base = base_model(model)
    read = _READERS.get(type(base))
    return None if read is None else read(base, _pack if packed else ModuleProjection)


def _pack(*modules: Any) -> Projection:
    packs = all(is_packable(module) for module in modules)
    return (PackedProjection if packs else ModuleProjection)(*modules)


def why_no_int8_layers(model: Any) -> str | None:
    """Why the products of a model's layers cannot be of 8-bit numbers.

    model (transformers.PreTrainedModel): The model.
    RETURNS (str | None): The reason, as part of a sentence; None if they can.
    """
    base = base_model(model)
    if _READERS.get(type(base)) is not read_llama or not is_plain_llama(base):
        return (
            f"models of its kind ({model.config.model_type}) have no such layers here"
        )
    return why_no_int8(base.model.layers)


def is_faster_in_int8(model: Any) -> bool:
    """Whether a model is faster with products of 8-bit numbers than without.

    model (transformers.PreTrainedModel): The model.
    """
    wide = stored_weight(model.get_input_embeddings()).shape[1] >= _WIDE
    # AMX has fast products in bfloat16, and was not measured with 8-bit numbers
    return wide and not cpu_has_amx() and why_no_int8_layers(model) is None


def count_int8(model: Any) -> int:
    """How many weights of a model have 8-bit copies.

    model (transformers.PreTrainedModel): A model for which `why_no_int8_layers` gives
        no reason.
    """
    return count_int8_weights(base_model(model).model.layers)


def read_int8_layers(model: Any, *, packed: bool = False) -> Layers:
    """Get the layers of a model with 8-bit copies of their weights.

    model (transformers.PreTrainedModel): A model for which `why_no_int8_layers` gives
        no reason.
    packed (bool): Whether to compute the other products with packed copies.
    """
    inner = base_model(model).model
    layers = [Int8Layer(layer, packed=packed) for layer in inner.layers]
    return join_llama(inner, layers)
