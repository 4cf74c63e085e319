"""Models whose layers lie on several devices.

transformers puts the weights there, with hooks of accelerate that move what each layer
needs. The hooks are taken off: such a model can be neither copied nor pickled, and each
layer would get a copy of the same masks. What moves tensors here is the place of the
weights alone. So tied weights are used where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap


def split(model: Any, device_map: DeviceMap, *, name: str) -> None:
    """Let a model run on the devices that its weights were loaded to.

    model (transformers.PreTrainedModel): The model.
    device_map (DeviceMap): The setting that it was loaded with.
    name (str): Its name in messages.
    RAISES (ValueError): If a mapping leaves parts out, weights are not on their device
        because it has no room, or a layer is on several devices.
    """
    from accelerate.hooks import remove_hook_from_module

    if not isinstance(device_map, str):
        _check_parts(model, device_map, name=name)
    kinds = {parameter.device.type for parameter in model.parameters()}
    wants_gpus = isinstance(device_map, str) and torch.cuda.is_available()
    # weights that are copied to a GPU in each pass are "meta" between them
    if "meta" in kinds or (wants_gpus and "cpu" in kinds):
        raise ValueError(Errors.P884.format(name=name))
    _check_whole(model, name=name)
    remove_hook_from_module(model, recurse=True)
    # peft and transformers would take it for a model with such hooks
    vars(model).pop("hf_device_map", None)
    move_inputs(model)


def _check_parts(model: Any, device_map: Mapping[str, Any], *, name: str) -> None:
    """Check that a mapping has all weights: transformers 5 loads others to the CPU."""
    for weight, _ in model.named_parameters():
        if not any(f"{weight}.".startswith(f"{part}.") for part in device_map):
            error = f"it has no device for {weight}"
            raise ValueError(Errors.P888.format(name=name, error=error))


def _check_whole(model: Any, *, name: str) -> None:
    """Check that each layer is on one device: it adds what its parts compute."""
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    for part, module in model.named_modules():
        devices = sorted({str(weight.device) for weight in module.parameters()})
        if type(module).__name__ in kinds and len(devices) > 1:
            message = Errors.P896.format(part=part, name=name, devices=devices)
            raise ValueError(message)


def move_inputs(model: Any) -> None:
    """Move the inputs of a model's parts to the devices of their weights.

    model (transformers.PreTrainedModel): The model; nothing is done if it is on one
        device.
    """
    if not weight_shares(model):
        return
    home = stored_weight(model.get_input_embeddings()).device
    for module in model.modules():
        if next(module.parameters(), None) is None:
            module.to(home)  # buffers, as those of rotary embeddings
    movers: dict[torch.device, _Mover] = {}
    for part, device in _parts(model):
        mover = movers.setdefault(device, _Mover(device))
        part.register_forward_pre_hook(mover, with_kwargs=True)


def weight_shares(model: Any) -> dict[torch.device, float]:
    """The share of each device in the weights of a model on several devices.

    model (transformers.PreTrainedModel): The model.
    RETURNS (dict[torch.device, float]): Device -> share in 0..1. Empty if the model is
        on one device.
    """
    sizes: Counter[torch.device] = Counter()
    for parameter in model.parameters():
        sizes[parameter.device] += parameter.numel() * parameter.itemsize
    if len(sizes) < 2:
        return {}
    total = sizes.total()
    return {device: size / total for device, size in sizes.items()}


def _parts(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, torch.device]]:
    """The largest parts of a module that are called, and have one device."""
    devices = {parameter.device for parameter in module.parameters()}
    is_list = isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict)
    if len(devices) == 1 and not is_list:
        yield module, devices.pop()
    elif devices:
        for child in module.children():
            yield from _parts(child)


class _Mover:
    """A hook that moves the inputs of modules to their device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # masks and positions are those of all layers of a pass
        self._copies = WeakTensorKeyDictionary()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Mover, (self._device,)

    def __call__(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See `torch.nn.Module.register_forward_pre_hook`."""
        hidden = [
            arg.to(self._device) if isinstance(arg, torch.Tensor) else arg
            for arg in args[:1]
        ]
        return (*hidden, *self._moved(args[1:])), self._moved(kwargs)

    def _moved(self, value: Any) -> Any:
        """Move the tensors in a value; a KV cache keeps those of each layer itself."""
        if isinstance(value, torch.Tensor):
            return self._copy(value)
        if type(value) is tuple or type(value) is list:
            return type(value)(map(self._moved, value))
        if type(value) is dict:
            return {key: self._moved(part) for key, part in value.items()}
        return value

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device == self._device:
            return tensor
        if tensor not in self._copies:
            self._copies[tensor] = tensor.to(self._device)
        copy: torch.Tensor = self._copies[tensor]
        return copy
