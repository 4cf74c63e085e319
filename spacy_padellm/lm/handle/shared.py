"""Models that are not changed, shared by all pipes of the process."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

from spacy_padellm.lm.devices.device_map import map_option
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.handle.stamp import stamp_of
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_placed
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.locks import make_lock

_sharing_lock = make_lock()
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LanguageModel] = (
    weakref.WeakValueDictionary()
)


def load_shared(
    name: str,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
) -> LanguageModel:
    """Get a model that all pipes of the process share; it must not be changed.

    name, revision, trust_remote_code: See `load_model`.
    placement (Placement): How its weights are loaded.
    RAISES (ValueError): See `load_model`.
    """
    source = find_model(name)
    stamp = stamp_of(source) if isinstance(source, Path) else None
    options = placement.quantization, map_option(placement.device_map)
    settings = (
        *(str(source), revision, trust_remote_code, stamp),
        *(placement.device, placement.dtype, placement.fused_layers),
        # equal options may be in another order
        json.dumps(options, sort_keys=True),
    )
    with _sharing_lock:
        lm = _find(settings, placement.int8)
        if lm is None:
            lm = load_placed(
                name,
                placement,
                revision=revision,
                trust_remote_code=trust_remote_code,
            )
            lm.pack_weights(int8=placement.int8)
            int8 = lm.int8 if placement.int8 is None else placement.int8
            _loaded[(*settings, int8)] = lm
    return lm


def _find(settings: tuple[Any, ...], int8: bool | None) -> LanguageModel | None:
    """Find a model that was loaded with equal settings."""
    if int8 is not None:
        return _loaded.get((*settings, int8))
    both = (_loaded.get((*settings, choice)) for choice in (True, False))
    return next((lm for lm in both if lm and lm.int8 == lm.prefers_int8), None)
