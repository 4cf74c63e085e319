"""How a model's weights are loaded: on which device, and as which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.lm.devices.choose import INT8, choose_device, choose_dtype
from spacy_padellm.lm.devices.device_map import DeviceMap


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices of a model's weights, and their numbers.

    device (torch.device): The model's device.
    dtype (torch.dtype): The dtype of the weights.
    int8 (bool | None): See `LanguageModel.pack_weights`.
    quantization (Mapping[str, Any] | None): `quantization_config` of the config.
    device_map (DeviceMap | None): Splits the model over several devices.
    fused_layers (bool): See `LanguageModel`.
    """

    device: torch.device
    dtype: torch.dtype
    int8: bool | None = False
    quantization: Mapping[str, Any] | None = None
    device_map: DeviceMap | None = None
    fused_layers: bool = True


def choose_placement(
    device: str,
    dtype: str,
    *,
    quantization: Mapping[str, Any] | None = None,
    device_map: DeviceMap | None = None,
    fused_layers: bool = True,
) -> Placement:
    """Choose the placement of a model from the config and the hardware.

    device, dtype (str): See `choose_device` and `choose_dtype`.
    quantization, device_map, fused_layers: See `Placement`.
    RAISES (ValueError): If the device or the dtype is unknown, or not available.
    """
    chosen = choose_device(device)
    return Placement(
        chosen,
        choose_dtype(dtype, chosen),
        int8=None if dtype == "auto" else dtype == INT8,
        quantization=quantization,
        device_map=device_map,
        fused_layers=fused_layers,
    )
