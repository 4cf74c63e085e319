"""The name of the argument for the KV cache.

It is `past_key_values` up to transformers 5.23, and `cache` from 5.24 on.
"""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationMixin

_OLD = "past_key_values"
_NEW = "cache"
_generation = inspect.signature(GenerationMixin.prepare_inputs_for_generation)
# the name that `generate` accepts
CACHE_ARGUMENT = _NEW if _NEW in _generation.parameters else _OLD


def cache_argument(model: Any) -> str:
    """Get the name of the argument for the KV cache in a model's forward function.

    model (transformers.PreTrainedModel): The model. Remote code may keep the old name.
    """
    names = inspect.signature(model.forward).parameters
    return _OLD if _OLD in names else CACHE_ARGUMENT
