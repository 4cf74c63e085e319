"""The name of the argument that takes the KV cache, which transformers changed.

Up to transformers 5.23 it is `past_key_values`, from 5.24 on `cache`.
"""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationMixin

_OLD = "past_key_values"
_NEW = "cache"
_generation = inspect.signature(GenerationMixin.prepare_inputs_for_generation)
# what `generate` takes
CACHE_ARGUMENT = _NEW if _NEW in _generation.parameters else _OLD


def cache_argument(model: Any) -> str:
    """Name the argument of a model's forward function that takes the KV cache.

    model (transformers.PreTrainedModel): The model; one with code of its own may keep
        the old name.
    """
    known = inspect.signature(model.forward).parameters
    return _OLD if _OLD in known else CACHE_ARGUMENT
