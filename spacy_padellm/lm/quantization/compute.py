"""Models that compute with quantized weights, as transformers loads them.

What `storage.py` stores in few bits is read back as plain weights; here the layers
themselves are others, such as those of bitsandbytes.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    AutoQuantizationConfig,
)
from transformers.utils.quantization_config import BitsAndBytesConfig

from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.trust.code import check_patterns, named_code

BITSANDBYTES = "bitsandbytes"
_PACKAGES = {BITSANDBYTES: ("bitsandbytes", "accelerate")}
_COMPUTE_DTYPE = "bnb_4bit_compute_dtype"
_CHOICES = {
    _COMPUTE_DTYPE: ("float32", "bfloat16", "float16"),
    "bnb_4bit_quant_type": ("nf4", "fp4"),
}
# settings of the computation, which leave stored weights as they are
_FREE = {_COMPUTE_DTYPE, "llm_int8_threshold"}
_METHOD = "quant_method"


def check_quantization(settings: Any) -> None:
    """Check the setting `quantization_config`, without a look at the model.

    settings (Any): None, or the settings of one of transformers' methods.
    RAISES (ValueError): If the method or a setting of it is unknown or has a wrong
        value.
    """
    if settings is None:
        return
    is_mapping = isinstance(settings, Mapping) and settings
    if not is_mapping or not all(isinstance(key, str) for key in settings):
        raise ValueError(Errors.P700.format(value=settings))
    method = _method(settings)
    contradicts = settings.get(_METHOD, method) != method
    if method not in _methods() or contradicts:
        known = ", ".join(_methods())
        value = settings.get(_METHOD)
        raise ValueError(Errors.P701.format(value=value, known=known))
    if method == BITSANDBYTES:
        _check_bitsandbytes(settings)
    found = next(named_code(settings), None)
    if found is not None:
        raise ValueError(Errors.P703.format(error=f"{found} names code or a file"))
    check_patterns(settings, source="quantization_config")
    if all(find_spec(package) for package in _PACKAGES.get(method, ())):
        _parse(settings)


def check_packages(settings: Mapping[str, Any] | None) -> None:
    """Check that the packages of a quantization method are installed.

    settings (Mapping[str, Any] | None): The settings.
    RAISES (ValueError): If one is missing. Of methods other than bitsandbytes,
        transformers says so when the model is loaded.
    """
    needed = _PACKAGES.get(_method(settings or {}), ())
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        raise ValueError(Errors.P704.format(missing=" and ".join(missing)))


def loading_options(config: Any, placement: Placement) -> dict[str, Any]:
    """Get the arguments of `from_pretrained` for a model with quantized weights.

    config (transformers.PretrainedConfig): The model's config. If its weights are
        stored quantized, it is given the settings that are missing there.
    placement (Placement): How the weights are loaded. They go to its device one by one;
        its dtype is that of the computation, unless `quantization` has one.
    RETURNS (dict[str, Any]): Empty if the weights are not quantized.
    RAISES (ValueError): If the settings contradict the stored weights, or a package is
        missing.
    """
    stored = getattr(config, "quantization_config", None)
    if not isinstance(stored, Mapping):
        stored = None
    elif _method(stored) not in _methods():
        return {}  # transformers logs that it takes the weights for plain ones
    if stored is None and placement.quantization is None:
        return {}
    chosen: dict[str, Any] = dict(placement.quantization or {})
    if stored is not None:
        _check_agrees(config, stored, chosen)
    merged = {**(stored or {}), **chosen}
    check_packages(merged)
    if _method(merged) == BITSANDBYTES:
        name = str(placement.dtype).removeprefix("torch.")
        merged[_COMPUTE_DTYPE] = chosen.get(_COMPUTE_DTYPE) or name
        _hide_casts()
    # a device without its name would be spread over all of them
    options: dict[str, Any] = {"device_map": {"": str(placement.device)}}
    if stored is not None:
        config.quantization_config = merged
    else:
        options["quantization_config"] = _parse(merged)
    return options


def is_quantized(model: Any) -> bool:
    """Whether a model computes with quantized weights.

    model (Any): A transformers.PreTrainedModel, or a peft.PeftModel around one.
    """
    return bool(getattr(model, "is_quantized", False))


def is_stored_quantized(folder: Path) -> bool:
    """Whether a model folder holds quantized weights, or only an adapter.

    folder (Path): The folder.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf8"))
    except (OSError, ValueError, RecursionError):
        return True  # there is nothing to be quantized
    return isinstance(config, dict) and bool(config.get("quantization_config"))


def on_its_device(model: Any, placement: Placement) -> Any:
    """Move a model that was loaded to its device; quantized or split, it is there.

    model (transformers.PreTrainedModel): The model.
    placement (Placement): How its weights are loaded.
    RETURNS (transformers.PreTrainedModel): The model.
    """
    if not is_quantized(model):
        return model if placement.device_map else model.to(placement.device)
    for module in model.modules():
        # bitsandbytes changes 4-bit weights for CPUs with AVX-512 at their first use:
        # then they have no gradient, are saved with errors, and some widths fail
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def _method(settings: Mapping[str, Any]) -> str:
    """The method's name; as in transformers, a number of bits means bitsandbytes."""
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return BITSANDBYTES
    return str(settings.get(_METHOD))


def _methods() -> list[str]:
    names = {name.split("_")[0] for name in _bitsandbytes_names()}
    return sorted(
        names | AUTO_QUANTIZATION_CONFIG_MAPPING.keys() - _bitsandbytes_names()
    )


def _bitsandbytes_names() -> set[str]:
    return {f"{BITSANDBYTES}_4bit", f"{BITSANDBYTES}_8bit"}


def _check_bitsandbytes(settings: Mapping[str, Any]) -> None:
    """Check what transformers takes without a word, or for which it needs the package.

    RAISES (ValueError): If it is wrong.
    """
    parameters = inspect.signature(BitsAndBytesConfig).parameters
    known = [_METHOD, *(name for name in parameters if name != "kwargs")]
    unknown = [key for key in settings if key not in known]
    if unknown:
        message = Errors.P702.format(
            unknown=", ".join(unknown), method=BITSANDBYTES, known=", ".join(known)
        )
        raise ValueError(message)
    bits = [settings.get("load_in_4bit"), settings.get("load_in_8bit")]
    if bits.count(True) != 1:
        error = "one of load_in_4bit and load_in_8bit must be true"
        raise ValueError(Errors.P703.format(error=error))
    for key, choices in _CHOICES.items():
        if settings.get(key, choices[0]) not in choices:
            error = f"{key} is {settings[key]!r}, not one of {', '.join(choices)}"
            raise ValueError(Errors.P703.format(error=error))


def _parse(settings: Mapping[str, Any]) -> Any:
    """Make transformers' own config of the settings.

    RAISES (ValueError): If a setting has a wrong value.
    """
    try:
        return AutoQuantizationConfig.from_dict(dict(settings))
    except Exception as error:  # each method raises errors of its own
        found = str(error).strip().rstrip(".")
        raise ValueError(Errors.P703.format(error=found)) from error


def _check_agrees(
    config: Any, stored: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Check that settings do not contradict those that the weights are stored with."""
    other = [
        f"{key} = {stored[key]!r}"
        for key, value in settings.items()
        if key in stored and key not in _FREE and stored[key] != value
    ]
    if settings and _method(settings) != _method(stored):
        other = [f"{_METHOD} = {_method(stored)!r}"]
    if other:
        message = Errors.P705.format(name=config.name_or_path, stored=", ".join(other))
        raise ValueError(message)


def _hide_casts() -> None:
    """Hide the log message of each 8-bit product that it casts to float16."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if _is_no_cast not in logger.filters:
        logger.addFilter(_is_no_cast)


def _is_no_cast(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("MatMul8bitLt: inputs will be cast")
