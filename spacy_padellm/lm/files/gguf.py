"""Read a model from a GGUF file: transformers reads the weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from spacy_padellm.compat import dtype_option
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import DeviceMap, map_option
from spacy_padellm.lm.devices.split import split
from spacy_padellm.lm.files.build import build_model
from spacy_padellm.lm.files.gguf_tokenizer import apart, read_gguf_tokenizer
from spacy_padellm.lm.files.load_errors import as_load_errors, check_complete
from spacy_padellm.lm.quantization.compute import loading_options, on_its_device
from spacy_padellm.lm.trust.gguf_header import check_gguf
from spacy_padellm.lm.trust.sizes import check_size, limited, size_limits_of_file

SUFFIX = ".gguf"


def is_gguf(source: Path | str) -> bool:
    """Whether a model's name or path is that of a GGUF file, and not of a folder."""
    return str(source).endswith(SUFFIX) and not Path(source).is_dir()


def read_gguf(
    file: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    quantization: Mapping[str, Any] | None = None,
    device_map: DeviceMap | None = None,
) -> tuple[Any, Any]:
    """Read a model and its tokenizer. Quantized weights are dequantized.

    file (Path): The file.
    dtype (torch.dtype): The dtype of the weights.
    device (torch.device): The model's device.
    quantization (Mapping[str, Any] | None): How the weights are quantized again.
    device_map (DeviceMap | None): Splits the model over several devices.
    RETURNS (tuple[Any, Any]): A PreTrainedModel and a PreTrainedTokenizerBase.
    RAISES (ValueError): If gguf is not installed, the file cannot be read, lacks
        weights or is one of several, or there is no rule for its tokenizer, or it
        announces more than it holds.
    """
    tensors, shards = check_gguf(file)
    if shards > 1:
        raise ValueError(Errors.P930.format(path=file, count=shards))
    tokenizer = read_gguf_tokenizer(file)
    limits = size_limits_of_file(file.stat().st_size, tensors=tensors)
    with apart(file) as folder:
        source = {"gguf_file": file.name}
        with as_load_errors(file):
            config = AutoConfig.from_pretrained(folder, **source)
        plain = copy.deepcopy(config)
        check_size(config, limits, file)
        with limited(limits, file), as_load_errors(file):
            read, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                **dtype_option(dtype),
                **source,
            )
        check_complete(file, report["missing_keys"])
    # transformers 5 saves no model that it read from a GGUF file
    options = loading_options(plain, quantization, dtype=dtype, device=device)
    options |= map_option(device_map)
    with as_load_errors(file, device_map=device_map):
        model, _ = build_model(plain, read.state_dict(), dtype=dtype, options=options)
        model = on_its_device(model, None if device_map else device)
    if device_map is not None:
        split(model, device_map, name=str(file))
    model.config.name_or_path = ""  # the folder is gone
    return model, tokenizer
