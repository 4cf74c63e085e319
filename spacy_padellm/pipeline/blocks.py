"""Checks of the blocks of a component's config, which functions make into objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

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
# functions that may be named in place of a block -> the settings that they need
_FUNCTIONS: dict[str, dict[str, dict[str, Any]]] = {
    **{block: {name: settings} for block, (_, name, settings) in _EXAMPLES.items()},
}
_FUNCTIONS["model"]["spacy-padellm.SmallCausalLM.v1"] = {}
_FUNCTIONS["span_getter"]["spacy-padellm.doc_spans.v1"] = {}
for _method in ("Batch", "OneStep", "Structured", "Augmented"):
    _FUNCTIONS["decoder"][f"spacy-padellm.{_method}Decoder.v1"] = {}
_SERVER = {"base_url": "http://localhost:8000/v1"}
_FUNCTIONS["decoder"]["spacy-padellm.ServerDecoder.v1"] = _SERVER
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
    registry, function, settings = _EXAMPLES[block]
    if isinstance(value, Mapping):
        settings = {str(key): setting for key, setting in value.items()}
    elif isinstance(value, str) and value in _FUNCTIONS[block]:
        function, settings = value, _FUNCTIONS[block][value]
    elif isinstance(value, str) and block == "model":
        settings = {"name": value}
    elif isinstance(value, str) and block == "prompt" and value in PRESETS:
        settings = {"preset": value}
    return [(registry, function), *settings.items()]
