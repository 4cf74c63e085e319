"""Read a model from a GGUF file: transformers reads the weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM

from spacy_padellm.compat.transformers import dtype_option
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.device_map import map_option
from spacy_padellm.lm.devices.placement import Placement
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
    return str(source).lower().endswith(SUFFIX) and not Path(source).is_dir()


def read_gguf(file: Path, placement: Placement) -> tuple[Any, Any]:
    """Read a model and its tokenizer. Quantized weights are dequantized.

    file (Path): The file.
    placement (Placement): How the weights are loaded; they may be quantized again.
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
        with as_load_errors(file, broken=Errors.P996):
            config = AutoConfig.from_pretrained(folder, **source)
        plain = copy.deepcopy(config)
        check_size(config, limits, file)
        with limited(limits, file), as_load_errors(file, broken=Errors.P996):
            read, report = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                **dtype_option(placement.dtype),
                **source,
            )
        check_complete(file, report["missing_keys"])
    # transformers 5 saves no model that it read from a GGUF file
    device_map = placement.device_map
    options = loading_options(plain, placement) | map_option(device_map)
    with as_load_errors(file, device_map=device_map):
        model, _ = build_model(
            plain, read.state_dict(), dtype=placement.dtype, options=options
        )
        model = on_its_device(model, placement)
    if device_map is not None:
        split(model, device_map, name=str(file))
    model.config.name_or_path = ""  # the folder is gone
    return model, tokenizer
