"""The architectures: a Hugging Face causal LM inside a thinc `Model`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from thinc.api import Model

from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.lm.model_source import ModelSource
from spacy_padellm.lm.small_model import SmallShape
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
) -> TreeModel:
    """`spacy-padellm.CausalLM.v1`: any Hugging Face causal LM.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype (str): "auto", "float32", "bfloat16" or "float16".
    device (str): "auto", "cpu", "cuda", "cuda:1", ...
    trust_remote_code (bool): Whether code in the model's repository may run.
    lora (dict[str, Any] | None): Train low-rank adapters (peft's LoraConfig) instead
        of all weights.
    """
    source = ModelSource(
        name=name,
        revision=revision,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        lora=lora,
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
) -> TreeModel:
    """`spacy-padellm.SmallCausalLM.v1`: a small model from scratch.

    Its tokenizer is learnt from the training texts when the component is initialised.
    See `SmallShape` for the sizes and `make_causal_lm` for dtype and device.
    """
    shape = SmallShape(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        layers=layers,
        heads=heads,
        key_value_heads=key_value_heads,
        context=context,
    )
    handle = ModelHandle(ModelSource(name=None, dtype=dtype, device=device))
    return _wrap(handle, shape=shape)


def get_handle(model: TreeModel) -> ModelHandle:
    """The handle of a model made here."""
    handle: ModelHandle = model.attrs["handle"]
    return handle


def _wrap(handle: ModelHandle, *, shape: SmallShape | None = None) -> TreeModel:
    attrs = {"handle": handle, "shape": shape}
    return Model("padellm-causal-lm", _forward, attrs=attrs)


def _forward(
    model: TreeModel, trees: Sequence[TrainingTree], is_train: bool
) -> tuple[Any, Callable[[float], list[Any]]]:
    """The trees' summed loss; its backprop takes the factor of the gradient."""
    lm = get_handle(model).lm()
    with torch.set_grad_enabled(is_train):
        loss = tree_loss(lm, trees)

    def backprop(factor: float) -> list[Any]:
        (loss * factor).backward()
        return []

    return loss.detach(), backprop
