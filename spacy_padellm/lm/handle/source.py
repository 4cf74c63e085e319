"""The origin of a component's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap
from spacy_padellm.lm.devices.placement import Placement, choose_placement


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model is loaded from, with which dtype and on which device.

    name (str | None): Bundled name, folder or hub name; None for a model that is made
        from scratch.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype, device (str): As in the config.
    device_map (DeviceMap | None): As in the config; None for a model on one device.
    trust_remote_code (bool): Whether code in the model's repository may run.
    lora (Mapping[str, Any] | None): Settings of peft's LoraConfig; None trains all
        weights.
    quantization (Mapping[str, Any] | None): `quantization_config` of the config; None
        takes the weights as they are stored.
    fused_layers (bool): As in the config.
    """

    name: str | None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    lora: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None
    device_map: DeviceMap | None = None
    fused_layers: bool = True

    def needed_name(self) -> str:
        """The name, where a model must have one.

        RAISES (ValueError): If it has none, as it is still to be made from scratch.
        """
        if self.name is None:
            raise ValueError(Errors.P130)
        return self.name

    def placement(self) -> Placement:
        """Choose how the weights are loaded for predictions.

        RAISES (ValueError): If the device or the dtype is unknown, or not available.
        """
        return choose_placement(
            self.device,
            self.dtype,
            quantization=self.quantization,
            device_map=self.device_map,
            fused_layers=self.fused_layers,
        )
