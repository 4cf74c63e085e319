"""The architectures: a Hugging Face causal LM inside a thinc `Model`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from thinc.api import Model, serialize_attr

from spacy_padellm.compat.spacy import is_made_from_config
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.lm.devices.choose import INT8, check_device, check_dtype
from spacy_padellm.lm.devices.device_map import check_accelerate, check_device_map
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.model_names import check_name, is_here
from spacy_padellm.lm.quantization.compute import check_packages, check_quantization
from spacy_padellm.lm.small_model import SmallShape
from spacy_padellm.lm.trust.code import check_request
from spacy_padellm.training.device import resolve_device
from spacy_padellm.training.loss import tree_loss
from spacy_padellm.training.targets import TrainingTree

TreeModel = Model[Sequence[TrainingTree], Any]


def make_causal_lm(
    name: str = "bundled-en",
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    lora: dict[str, Any] | None = None,
    quantization_config: dict[str, Any] | None = None,
    device_map: str | dict[str, Any] | None = None,
    fused_layers: bool = True,
) -> TreeModel:
    """`spacy-padellm.CausalLM.v1`: any causal LM of Hugging Face.

    name (str): A bundled model's name, a folder, a GGUF file, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype (str): "auto", "float32", "bfloat16", "float16" or "int8". Of the weights in
        decoding, and of the activations in training. "auto" is bfloat16 where the
        hardware is fast at it, else float16 on CUDA and float32 elsewhere. "int8" is
        "auto" with 8-bit products in decoding, if the CPU has them (VNNI or AMX). So
        is "auto" where they are faster, if the weights are stored in few bits.
    device (str): "cpu", "cuda", "cuda:1", ..., or "auto", which follows spaCy's GPU
        settings; see `resolve_device`.
    trust_remote_code (bool): Whether to run code from the model's repository. The
        environment must agree, see `check_request`.
    lora (dict[str, Any] | None): Settings of peft's LoraConfig, to train a low-rank
        adapter instead of all weights.
    quantization_config (dict[str, Any] | None): Settings of one of transformers'
        quantization methods, to load the weights in few bits, e.g. `{"load_in_4bit":
        True}`.
    device_map (str | dict[str, Any] | None): Splits a model that is too large for one
        GPU over several: "auto", "balanced", "balanced_low_0" or "sequential", or the
        device of each part. Such a model only decodes.
    fused_layers (bool): Whether the layers of Llama, Mistral, Qwen2, Qwen3, Gemma,
        Gemma 3 and GPT-2 are run with fewer and larger operations than those of
        transformers.
    RAISES (ValueError): If only the config trusts the model's code, or a setting cannot
        be right.
    """
    check_request(trust_remote_code)
    check_quantization(quantization_config)
    check_device_map(device_map, device)
    _check_fused_layers(fused_layers, dtype)
    # a pipeline that is made from its config may bring the model later
    if not is_made_from_config():
        check_name(name)
        check_packages(quantization_config)
        check_accelerate(device_map)
    if revision is not None and is_here(name):
        _warn_of_revision(name, revision)
    source = ModelSource(
        name=name,
        revision=revision,
        dtype=check_dtype(dtype),
        device=device if device_map else check_device(resolve_device(device)),
        trust_remote_code=trust_remote_code,
        lora=lora,
        quantization=quantization_config,
        device_map=device_map,
        fused_layers=fused_layers,
    )
    return _wrap(ModelHandle(source))


def make_small_causal_lm(
    *,
    vocab_size: int = 8000,
    hidden_size: int = 256,
    intermediate_size: int = 768,
    layers: int = 6,
    heads: int = 4,
    key_value_heads: int = 4,
    context: int = 1024,
    dtype: str = "auto",
    device: str = "auto",
    fused_layers: bool = True,
) -> TreeModel:
    """`spacy-padellm.SmallCausalLM.v1`: a small model from scratch.

    Its tokenizer is trained on the training texts when the component is initialized.
    See `SmallShape` for the sizes, and `make_causal_lm` for the other settings.
    """
    _check_fused_layers(fused_layers, dtype)
    shape = SmallShape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        layers=layers,
        heads=heads,
        key_value_heads=key_value_heads,
        context=context,
    )
    source = ModelSource(
        name=None,
        dtype=check_dtype(dtype),
        device=check_device(resolve_device(device)),
        fused_layers=fused_layers,
    )
    return _wrap(ModelHandle(source), shape=shape)


def _check_fused_layers(fused_layers: Any, dtype: str) -> None:
    """Check the setting, alone and beside the dtype."""
    if not isinstance(fused_layers, bool):
        raise ValueError(Errors.P988.format(value=fused_layers))
    if dtype == INT8 and not fused_layers:
        raise ValueError(Errors.P989)


@cache  # once per process
def _warn_of_revision(name: str, revision: str) -> None:
    logger.warning(Warnings.W124.format(name=name, revision=revision))


def get_handle(model: TreeModel) -> ModelHandle:
    """The handle of a model that was created here.

    model (TreeModel): The component's model.
    """
    handle: ModelHandle = model.attrs["handle"]
    return handle


@serialize_attr.register(ModelHandle)
def _refuse_to_serialize(_: Any, value: Any, name: str, model: TreeModel) -> bytes:
    """Raise an error: thinc would silently leave out the handle, and so the weights."""
    raise ValueError(Errors.P139)


def _wrap(handle: ModelHandle, *, shape: SmallShape | None = None) -> TreeModel:
    attrs = {"handle": handle, "shape": shape}
    return Model("padellm-causal-lm", _forward, attrs=attrs)


def _forward(
    model: TreeModel, trees: Sequence[TrainingTree], is_train: bool
) -> tuple[Any, Callable[[float], list[Any]]]:
    """The summed loss of the trees; `backprop` takes the gradient of that sum."""
    lm = get_handle(model).lm()
    if lm.shares:
        raise ValueError(Errors.P886)
    # another thread may decode with the model between the two
    with lm.lock, torch.set_grad_enabled(is_train):
        lm.set_training(is_train)
        loss = tree_loss(lm, trees)

    def backprop(factor: float) -> list[Any]:
        with lm.lock:
            # checkpointing runs the pass again
            lm.set_training(is_train)
            (loss * factor).backward()
        return []

    return loss.detach(), backprop
