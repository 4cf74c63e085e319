"""Models that are not changed, shared by all pipes of the process."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.lm.devices.device_map import DeviceMap, map_option
from spacy_padellm.lm.handle.stamp import stamp_of
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.locks import make_lock

_sharing_lock = make_lock()
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LanguageModel] = (
    weakref.WeakValueDictionary()
)


def load_shared(
    name: str,
    *,
    revision: str | None,
    dtype: torch.dtype,
    int8: bool = False,
    device: torch.device,
    trust_remote_code: bool,
    quantization: Mapping[str, Any] | None = None,
    device_map: DeviceMap | None = None,
) -> LanguageModel:
    """Get a model that all pipes of the process share; it must not be changed.

    name, revision, dtype, device, trust_remote_code, quantization, device_map: See
        `load_model`.
    int8 (bool): See `LanguageModel.pack_weights`.
    """
    source = find_model(name)
    stamp = stamp_of(source) if isinstance(source, Path) else None
    loading = json.dumps([quantization, map_option(device_map)], sort_keys=True)
    weights = dtype, int8, device
    key = (str(source), revision, weights, trust_remote_code, loading, stamp)
    with _sharing_lock:
        lm = _loaded.get(key)
        if lm is None:
            lm = load_model(
                name,
                revision=revision,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
                quantization=quantization,
                device_map=device_map,
            )
            lm.pack_weights(int8=int8)
            _loaded[key] = lm
    return lm
