"""Make a model trainable: weights of its own, new tokens, LoRA, and its device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.choose import fast_bf16
from spacy_padellm.lm.devices.cudnn import switch_off_cudnn_attention
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.handle.state import ByName
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_placed
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.model_names import absolute_name
from spacy_padellm.lm.quantization.compute import is_quantized


def load_unshared(source: ModelSource, state: ByName) -> LanguageModel:
    """Load a model whose weights no other pipe uses.

    source (ModelSource): The model.
    state (ByName): What is known of it; a shared model in it is released.
    RAISES (ValueError): If it cannot be loaded.
    """
    name = source.needed_name()
    if state.lm is not None and not state.location.is_unchanged():
        lm = copy.deepcopy(state.lm)
        lm.unpack_weights()
        return lm
    state.location.check_unchanged()
    state.lm = None  # or there would be two in memory
    return load_placed(
        name,
        _training_placement(source),
        revision=source.revision,
        trust_remote_code=source.trust_remote_code,
    )


def make_trainable(
    lm: LanguageModel, source: ModelSource, special_tokens: Sequence[str]
) -> LanguageModel:
    """Prepare a model for training.

    lm (LanguageModel): The model; its weights are not shared.
    source (ModelSource): Its device, its dtype and the settings of LoRA.
    special_tokens (Sequence[str]): Added to the tokenizer, unless it has them.
    RETURNS (LanguageModel): The model, with an adapter if LoRA is set.
    RAISES (ValueError): If all weights would be trained, and they are quantized.
    """
    has_adapters = source.lora is not None or hasattr(lm.model, "peft_config")
    if is_quantized(lm.model) and not has_adapters:
        raise ValueError(Errors.P706.format(name=source.name))
    new_tokens = lm.add_special_tokens(special_tokens)
    if hasattr(lm.model, "peft_config"):
        # a loaded adapter is frozen
        lm.model.set_adapter(lm.model.active_adapter)
    elif source.lora is not None:
        lm = with_lora(
            lm,
            source.lora,
            name=source.name and absolute_name(source.name),
            revision=source.revision,
            new_tokens=new_tokens,
        )
    place_for_training(lm, source)
    return lm


def place_for_training(lm: LanguageModel, source: ModelSource) -> None:
    """Move a model to its device, in the dtype that training computes in.

    Quantized weights are there since they were loaded, and their adapters, too.

    lm (LanguageModel): The model.
    source (ModelSource): The settings of its device and dtype.
    """
    if is_quantized(lm.model):
        return
    placement = _training_placement(source)
    switch_off_cudnn_attention(placement.device)
    # buffers keep their dtype, as when a model is loaded: rounded frequencies of rotary
    # embeddings give wrong angles, the more so the longer a text is
    buffers = [
        (module, name, buffer)
        for module in lm.model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    lm.model.to(device=placement.device, dtype=placement.dtype)
    for module, name, buffer in buffers:
        setattr(module, name, buffer.to(placement.device))


def _training_placement(source: ModelSource) -> Placement:
    placement = source.placement()
    # float16 gradients would underflow
    fast = placement.dtype == torch.bfloat16 and fast_bf16(placement.device)
    return replace(placement, dtype=torch.bfloat16 if fast else torch.float32)
