"""Load a Hugging Face causal LM with its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spacy_padellm.compat.transformers import dtype_option, no_questions
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap, map_option
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.devices.split import split
from spacy_padellm.lm.files.build import build_model
from spacy_padellm.lm.files.gguf import is_gguf, read_gguf
from spacy_padellm.lm.files.gguf_tokenizer import read_gguf_tokenizer
from spacy_padellm.lm.files.hub import fetch_file, fetch_optional_file, why_offline
from spacy_padellm.lm.files.licenses import read_licenses
from spacy_padellm.lm.files.load_errors import (
    as_load_errors,
    check_complete,
    check_numbers,
)
from spacy_padellm.lm.files.tokenizer import read_tokenizer
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import ADAPTER, base_names, load_adapter, read_adapter
from spacy_padellm.lm.model_names import (
    check_files,
    check_no_pipeline,
    expanded,
    find_model,
)
from spacy_padellm.lm.quantization.compute import (
    is_quantized,
    loading_options,
    on_its_device,
)
from spacy_padellm.lm.quantization.copies import copied
from spacy_padellm.lm.quantization.storage import QUANTIZED_FILE, read_quantized
from spacy_padellm.lm.task.config import (
    SETTINGS_FILE,
    check_taught_tags,
    read_taught_tags,
)
from spacy_padellm.lm.task.tags import TaughtTags, drop_old_keys
from spacy_padellm.lm.trust.code import check_code, check_settings_file
from spacy_padellm.lm.trust.sizes import check_size, limited, size_limits
from spacy_padellm.lm.vocabulary import check_vocabulary, count_tokens
from spacy_padellm.locks import make_lock

_HUB_SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    ADAPTER,
)

# transformers changes global state while it loads
_loading_lock = make_lock()


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    trust_remote_code: bool = False,
    quantization: Mapping[str, Any] | None = None,
    device_map: DeviceMap | None = None,
    fused_layers: bool = True,
) -> LanguageModel:
    """Load a model that is not shared.

    name (str): A bundled model's name, a folder, a GGUF file, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype (torch.dtype): The dtype of the weights.
    device (torch.device | None): The model's device; None is the CPU.
    trust_remote_code (bool): Whether code in the model's repository may run.
    quantization (Mapping[str, Any] | None): `quantization_config` of the config.
    device_map (DeviceMap | None): Splits the model over several devices.
    fused_layers (bool): See `LanguageModel`.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): If the model is missing, corrupt or incomplete, its
        architecture is not known, it has code that is not trusted, it is quantized in
        another way, its settings announce more than it has, or it does not fit the
        device, or accelerate is needed and missing.
    """
    placement = Placement(
        device or torch.device("cpu"),
        dtype,
        quantization=quantization,
        device_map=device_map,
        fused_layers=fused_layers,
    )
    return load_placed(
        name, placement, revision=revision, trust_remote_code=trust_remote_code
    )


def load_placed(
    name: str,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
) -> LanguageModel:
    """Load a model that is not shared, with plain weights; see `load_model`.

    name (str): See `load_model`.
    placement (Placement): How its weights are loaded.
    revision, trust_remote_code: See `load_model`.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): See `load_model`.
    """
    source = find_model(name)
    check_files(source)
    _check_code(source, revision, trusted=trust_remote_code)
    lm = _load_found(
        source, placement, revision=revision, trust_remote_code=trust_remote_code
    )
    lm.fused_layers = placement.fused_layers
    if isinstance(source, Path) and source.is_dir():
        lm.licenses = {**lm.licenses, **read_licenses(source)}
    return lm


def _load_found(
    source: Path | str,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
) -> LanguageModel:
    """Load a model of a file, a folder or the hub."""
    if isinstance(source, Path) and is_gguf(source):
        with _loading():
            model, tokenizer = read_gguf(source, placement)
        check_vocabulary(model, tokenizer, name=source)
        return LanguageModel(model.eval(), tokenizer)
    if isinstance(source, Path) and (source / ADAPTER).is_file():
        return _load_adapted(source, placement, trust_remote_code=trust_remote_code)
    return _load_plain(
        source, placement, revision=revision, trust_remote_code=trust_remote_code
    )


def _load_plain(
    source: Path | str,
    placement: Placement,
    *,
    revision: str | None,
    trust_remote_code: bool,
) -> LanguageModel:
    """Load a model of a folder or the hub that is no adapter."""
    device_map = placement.device_map
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options |= _hub_options(revision)
    tags, tags_folder = _read_taught_tags(source, revision)
    with _loading(), as_load_errors(source):
        config = AutoConfig.from_pretrained(source, **options)
        check_numbers(config)
        drop_old_keys(config)
        tokenizer = read_tokenizer(source, **options)
        limits = size_limits(source)
    with _loading():
        check_size(config, limits, source)
    few_bits = loading_options(config, placement)
    placing = few_bits | map_option(device_map)
    errors = as_load_errors(source, device_map=device_map)
    with _loading(), limited(limits, source), errors:
        model, missing = _read_weights(
            source, config, dtype=placement.dtype, options=options, placing=placing
        )
    check_complete(source, missing)
    check_vocabulary(model, tokenizer, name=source)
    check_taught_tags(tags, count_tokens(model), folder=tags_folder)
    if device_map is not None:
        split(model, device_map, name=str(source))
    with as_load_errors(source):
        # straight from the file to a GPU, without a copy in the machine's memory
        model = on_its_device(model, placement).eval()
        if isinstance(source, Path):
            model = _leave_file(model)
    quantized = _is_in_few_bits(source) and not few_bits
    return LanguageModel(model, tokenizer, tags=tags, quantized=quantized)


def _load_adapted(
    folder: Path, placement: Placement, *, trust_remote_code: bool
) -> LanguageModel:
    """Load a LoRA adapter with its base model."""
    with _loading():
        adapter = read_adapter(folder, trust_remote_code=trust_remote_code)
    base_name = _base_name(folder, adapter.config.base_model_name_or_path)
    try:
        base = load_placed(
            base_name,
            placement,
            revision=adapter.config.revision,
            trust_remote_code=trust_remote_code,
        )
    except ValueError as error:
        message = Errors.P722.format(path=folder, name=base_name, error=error)
        raise ValueError(message) from error
    with _loading():
        return load_adapter(adapter, base, placement.dtype)


def _is_in_few_bits(source: Path | str) -> bool:
    return isinstance(source, Path) and (source / QUANTIZED_FILE).is_file()


def _read_weights(
    source: Path | str,
    config: Any,
    *,
    dtype: torch.dtype,
    options: Mapping[str, Any],
    placing: Mapping[str, Any],
) -> tuple[Any, list[str]]:
    """The model, and the names of missing weights."""
    if isinstance(source, Path) and _is_in_few_bits(source):
        weights = read_quantized(source, dtype=dtype)
        return build_model(config, weights, dtype=dtype, options=placing)
    model, report = AutoModelForCausalLM.from_pretrained(
        source,
        config=config,
        output_loading_info=True,
        **dtype_option(dtype),
        **options,
        **placing,
    )
    return model, report["missing_keys"]


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Load a model's tokenizer without its weights.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    trust_remote_code (bool): Whether code in the model's repository may run.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If there is none, or it cannot be read, or it has code that is
        not trusted.
    """
    source = find_model(name)
    _check_code(source, revision, trusted=trust_remote_code)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options |= _hub_options(revision)
    elif is_gguf(source):
        with _loading():
            return read_gguf_tokenizer(source)
    else:
        check_no_pipeline(source)
    with _loading(), as_load_errors(source):
        return read_tokenizer(source, **options)


def _hub_options(revision: str | None) -> dict[str, Any]:
    """The arguments of `from_pretrained` for a model on the hub."""
    return {"revision": revision, "local_files_only": why_offline() is not None}


@contextmanager
def _loading() -> Iterator[None]:
    """Let one thread load, without questions on the terminal."""
    with _loading_lock, no_questions():
        yield


def _base_name(folder: Path, name: Any) -> str:
    """Check the name of an adapter's base model, which is not an adapter itself."""
    if not isinstance(name, str) or not name or _is_adapter(name):
        raise ValueError(Errors.P510.format(path=folder, name=name))
    return name


def _is_adapter(name: str) -> bool:
    # a name that no model has, or that is too long, as loading it will tell
    with suppress(ValueError, OSError):
        return (expanded(name) / ADAPTER).exists()
    return False


def _check_code(source: Path | str, revision: str | None, *, trusted: bool) -> None:
    """Check that a model in a folder or on the hub has no code that is not trusted."""
    if isinstance(source, Path):
        check_code(source, trusted=trusted)
    elif not trusted:
        adapter = _check_hub(source, revision)
        for name in base_names(adapter) if adapter else ():
            # transformers loads it, without a look at a folder's code
            base = find_model(name)
            if isinstance(base, Path):
                raise ValueError(Errors.P509.format(path=source, name=name))
            _check_hub(base, revision)


def _check_hub(name: str, revision: str | None) -> Path | None:
    """Check the settings of a model on the hub; gives its folder if it is an adapter.

    transformers itself refuses code on the hub.
    """
    adapter = None
    for file in _HUB_SETTINGS:
        path = fetch_optional_file(name, file, revision=revision)
        if path is not None:
            check_settings_file(path, folder=path.parent, on_hub=True)
            if file == ADAPTER:
                adapter = path.parent
    return adapter


def _read_taught_tags(
    source: Path | str, revision: str | None
) -> tuple[TaughtTags | None, Path]:
    """Read the tags of a model in a folder or on the hub; gives the folder, too."""
    if isinstance(source, Path):
        return read_taught_tags(source), source
    folder = fetch_file(source, "config.json", revision=revision).parent
    fetch_optional_file(source, SETTINGS_FILE, revision=revision)
    return read_taught_tags(folder), folder


def _leave_file(model: Any) -> Any:
    """Copy weights that are a view of their file, which may be overwritten in place."""
    tensors = [*model.parameters(), *model.buffers()]
    if is_quantized(model):
        # the weights have tensors of their own
        return copied(model) if tensors[0].device.type == "cpu" else model
    for tensor in tensors:
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()
    return model
