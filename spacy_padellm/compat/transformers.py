"""Uses of transformers that its documentation does not promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformers import PretrainedConfig, dynamic_module_utils


def attention_name(config: Any) -> str:
    """The name of the attention implementation that a model uses.

    Seen on transformers 4.53.2 and 5.24.0.

    config (transformers.PretrainedConfig): The model's config.
    """
    return str(config._attn_implementation)


def set_attention(config: Any, name: str | None) -> None:
    """Choose the attention implementation of a model.

    Seen on transformers 4.53.2 and 5.24.0. The public
    `PreTrainedModel.set_attn_implementation` came after 4.53, and checks the whole
    model at each call.

    config (transformers.PretrainedConfig): The model's config.
    name (str | None): The implementation's name; None is transformers' choice.
    """
    config._attn_implementation = name


def configs_of(model: Any) -> list[Any]:
    """All configs that the modules of a model read, that of the model first.

    Seen on transformers 4.53.2 and 5.24.0, and peft 0.21.2: layers ask their own
    `config` for the attention implementation, and adapters that copy layers copy their
    configs, too. Adapters can be added at any time, so this is asked at each pass:
    `modules()` and `children()` take several times as long, as they look for modules
    that are in two places.

    model (transformers.PreTrainedModel): The model.
    RETURNS (list[transformers.PretrainedConfig]): Each once, in the same order in
        copies of the model.
    """
    found = {id(model.config): model.config}
    todo = [model]
    while todo:
        module = todo.pop()
        if module is None:
            continue
        config = module.__dict__.get("config")
        if isinstance(config, PretrainedConfig):
            found[id(config)] = config
        # experts have no attention, and a model may have thousands of them
        todo += (part for name, part in module._modules.items() if name != "experts")
    return list(found.values())


def attention_names(configs: Sequence[Any]) -> list[str | None]:
    """The attention implementation of each config, as `set_attentions` takes them.

    configs (Sequence[transformers.PretrainedConfig]): See `configs_of`.
    """
    return [config._attn_implementation for config in configs]


def set_attentions(configs: Sequence[Any], names: Sequence[str | None]) -> None:
    """Choose the attention implementation of each config.

    configs (Sequence[transformers.PretrainedConfig]): See `configs_of`. A config comes
        before its parts: transformers 5.24.0 sets those, too.
    names (Sequence[str | None]): The name for each.
    """
    for config, name in zip(configs, names, strict=True):
        set_attention(config, name)


@contextmanager
def swapped_attention(model: Any, name: str) -> Iterator[None]:
    """Let a model use another attention implementation for a while.

    Seen on transformers 4.53.2 and 5.24.0.
    An implementation that is set once and calls the model's own one outside of our
    passes would have to find that one: "eager" is a function of each model's module
    and is not registered anywhere. Models also compare the name with "eager" and
    "sdpa" to build masks, and GPT-2 copies it when it is made.

    model (transformers.PreTrainedModel): The model.
    name (str): The name of a registered implementation.
    """
    configs = configs_of(model)
    before = attention_names(configs)
    try:
        set_attentions(configs, [name] * len(configs))
        yield
    finally:
        set_attentions(configs, before)


def hook_vocabulary_head(
    model: Any, hook: Callable[[Any, tuple[Any, ...]], tuple[Any, ...] | None]
) -> Any:
    """Call a hook with the hidden states before they are projected to the vocabulary.

    Seen on transformers 4.53.2 and 5.24.0: models call their head as a module, with the
    hidden states (rows, width, size) as its only argument. `logits_to_keep` is no
    substitute: it takes the same positions in every row and returns no hidden states.

    model (transformers.PreTrainedModel): The model.
    hook (Callable): A forward pre-hook of torch.
    RETURNS (torch.utils.hooks.RemovableHandle): Removes the hook.
    """
    return model.get_output_embeddings().register_forward_pre_hook(hook)


def dtype_option(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The argument of `from_pretrained` for the weights' dtype.

    Seen on transformers 4.53.2, which calls it `torch_dtype`, and 5.24.0, which warns
    of that name.
    """
    old = transformers.__version__.startswith("4.")
    return {"torch_dtype" if old else "dtype": dtype}


def mend_bitsandbytes_saving(model: Any) -> None:
    """Let a model be saved that was loaded with stored weights of bitsandbytes.

    Seen on transformers 5.24.0: it notes how the weights were read, and fails when it
    saves them, as that cannot be reversed. It need not be: a state dict has the weights
    as they are stored. 4.53.2 notes nothing.

    model (transformers.PreTrainedModel): The model.
    """
    noted = getattr(model, "_weight_conversions", None)
    if noted is not None:
        model._weight_conversions = [
            conversion
            for conversion in noted
            if not any(
                type(operation).__module__.endswith("integrations.bitsandbytes")
                for operation in getattr(conversion, "operations", ())
            )
        ]


@contextmanager
def no_questions() -> Iterator[None]:
    """Keep transformers from asking on the terminal whether a model's code may run.

    Seen on transformers 4.53.2 and 5.24.0: parts of a model are loaded without the
    argument `trust_remote_code`, and then it asks. With this, that is an error.
    """
    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before
