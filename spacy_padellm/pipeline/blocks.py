"""Checks of the blocks of a component's config, which functions make into objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from spacy.util import registry
from thinc.api import Model

from spacy_padellm.errors import Errors
from spacy_padellm.prompt.template import PRESETS, Prompt
from spacy_padellm.training.settings import TrainingSettings

_SHOWN = 80  # characters of a value in a message
_EXAMPLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "model": ("@architectures", "spacy-padellm.CausalLM.v1", {"name": "bundled-en"}),
    "prompt": ("@misc", "spacy-padellm.Prompt.v1", {"preset": "paper-en"}),
    "decoder": ("@misc", "spacy-padellm.TreeDecoder.v1", {}),
    "span_getter": (
        "@span_getters",
        "spacy-padellm.strided_spans.v1",
        {"window": 32, "stride": 24},
    ),
    "training": ("@misc", "spacy-padellm.Training.v1", {}),
    "scorer": ("@scorers", "spacy-padellm.NerScorer.v1", {"spans_key": "padellm"}),
}
# examples of settings that have no default
_VALUES = {"base_url": "http://localhost:8000/v1"}
_DECODER = ("needs_weights", "output_format", "default_threshold", "stream")
_IS_MADE: dict[str, Callable[[Any], bool]] = {
    "model": lambda model: isinstance(model, Model) and "handle" in model.attrs,
    "prompt": lambda prompt: prompt is None or isinstance(prompt, Prompt),
    "decoder": lambda decoder: all(hasattr(decoder, name) for name in _DECODER),
    "span_getter": lambda getter: getter is None or callable(getter),
    "training": lambda training: isinstance(training, TrainingSettings),
    "scorer": lambda scorer: scorer is None or callable(scorer),
}


def check_blocks(name: str, **blocks: Any) -> None:
    """Check that the blocks of a config were made into what the component needs.

    name (str): The component's name, for the error message.
    blocks (Any): `model`, `prompt`, `decoder`, `span_getter`, `training` and `scorer`.
    RAISES (ValueError): If one of them is something else, such as the name of a model
        in place of a block. The message has the block to copy.
    """
    for block, value in blocks.items():
        if not _IS_MADE[block](value):
            example = _example(block, value)
            lines = [
                f"{key} = {json.dumps(setting, default=repr)}"
                for key, setting in example
            ]
            message = Errors.P156.format(
                name=name,
                block=block,
                value=repr(value)[:_SHOWN],
                python={block: dict(example)},
                file="\n".join([f"[components.{name}.{block}]", *lines]),
            )
            raise ValueError(message)


def _example(block: str, value: Any) -> list[tuple[str, Any]]:
    """The block that was probably meant: the key and value of each line."""
    table, function, settings = _EXAMPLES[block]
    named = _needed_settings(block, value) if isinstance(value, str) else None
    if isinstance(value, Mapping):
        settings = {str(key): setting for key, setting in value.items()}
    elif named is not None:
        function, settings = value, named
    elif isinstance(value, str) and block == "model":
        settings = {"name": value}
    elif isinstance(value, str) and block == "prompt" and value in PRESETS:
        settings = {"preset": value}
    return [(table, function), *settings.items()]


def _needed_settings(block: str, name: str) -> dict[str, Any] | None:
    """The settings without a default of the function that was named in place of a
    block; None if no function of that name makes such a block."""
    table, example, settings = _EXAMPLES[block]
    if name == example:
        return settings
    functions = getattr(registry, table.removeprefix("@"))
    if name not in functions:
        return None
    own, expected = (signature(functions.get(each)) for each in (name, example))
    if own.return_annotation != expected.return_annotation:
        return None
    needed = [p.name for p in own.parameters.values() if p.default is p.empty]
    return {setting: _VALUES.get(setting, "...") for setting in needed}
