"""The setting `device_map`: which parts of a model go to which device."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.choose import choose_device

DeviceMap = str | Mapping[str, Any]

# how transformers shares the layers out
_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


def check_device_map(device_map: Any, device: str) -> None:
    """Check the setting `device_map`, without a look at the model.

    device_map (Any): None, a strategy, or the device of each part of the model.
    device (str): The setting `device`.
    RAISES (ValueError): If it cannot be right, names a device that is not available, or
        `device` is set, too.
    """
    if device_map is None:
        return
    if device != "auto":
        raise ValueError(Errors.P880.format(device=device, device_map=device_map))
    if isinstance(device_map, str) and device_map in _STRATEGIES:
        return
    if not isinstance(device_map, Mapping) or not _is_map(device_map):
        known = ", ".join(map(repr, _STRATEGIES))
        raise ValueError(Errors.P881.format(value=device_map, known=known))
    names = set(map(_device_name, device_map.values()))
    if names & {"cpu", "disk"} and len(names) > 1:
        raise ValueError(Errors.P882.format(devices=", ".join(sorted(names))))
    for name in sorted(names):
        try:
            choose_device(name)
        except ValueError as error:
            count = torch.cuda.device_count()
            raise ValueError(Errors.P887.format(device=name, count=count)) from error


def check_accelerate(device_map: DeviceMap | None) -> None:
    """Check that accelerate is installed, which transformers shares layers out with.

    device_map (DeviceMap | None): The setting.
    RAISES (ValueError): If it is needed and missing.
    """
    if device_map is not None and find_spec("accelerate") is None:
        raise ValueError(Errors.P883)


def map_option(device_map: DeviceMap | None) -> dict[str, Any]:
    """The argument of `from_pretrained` for a model over several devices.

    device_map (DeviceMap | None): The setting.
    RETURNS (dict[str, Any]): Empty without the setting.
    RAISES (ValueError): If accelerate is missing.
    """
    if device_map is None:
        return {}
    check_accelerate(device_map)
    if isinstance(device_map, str):
        return {"device_map": device_map}
    named = {part: _device_name(device) for part, device in device_map.items()}
    return {"device_map": named}


def _is_map(device_map: Mapping[Any, Any]) -> bool:
    """Whether a mapping gives parts of a model their devices."""
    # a config file cannot hold an empty name
    return bool(device_map) and all(
        isinstance(part, str) and part and _may_name(device)
        for part, device in device_map.items()
    )


def _may_name(device: Any) -> bool:
    """Whether a value may name one device."""
    return device != "auto" if isinstance(device, str) else is_whole(device)


def _device_name(device: str | int) -> str:
    return device if isinstance(device, str) else f"cuda:{device}"
