"""Check, copy and write Hugging Face model folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.compat.transformers import mend_bitsandbytes_saving
from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.licenses import is_license
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import ADAPTER
from spacy_padellm.lm.quantization.compute import is_quantized
from spacy_padellm.lm.quantization.storage import (
    QUANTIZED_FILE,
    write_quantized,
)
from spacy_padellm.lm.task.config import (
    SETTINGS_FILE,
    TaskSettings,
    read_taught_tags,
    write_settings,
)
from spacy_padellm.lm.task.tags import remove_old_tags
from spacy_padellm.lm.trust.code import check_code
from spacy_padellm.lm.trust.links import check_links
from spacy_padellm.modes import allow_writing, open_folders, spread_mode

# folders of a model folder that transformers reads
_READ_FOLDERS = {"additional_chat_templates", "custom_generate"}
# files that transformers' trainer leaves beside a model
_OF_TRAINING = (
    "training_args.bin",
    "trainer_state.json",
    "optimizer.*",
    "scheduler.*",
    "rng_state*",
    "events.out.tfevents.*",
)
# the suffixes of weights for other libraries
_OF_OTHERS = {".gguf", ".h5", ".msgpack", ".onnx", ".ot", ".pt", ".pth", ".tflite"}


def check_model_folder(folder: Path, *, weights: bool) -> None:
    """Check that a folder holds a model.

    folder (Path): The folder.
    weights (bool): Whether weights are needed, or only a tokenizer.
    RAISES (ValueError): If files are missing.
    """
    files: list[tuple[str, ...]] = [
        ("config.json",),
        ("model.safetensors", "model.safetensors.index.json", QUANTIZED_FILE, "*.bin"),
        ("tokenizer*", "vocab*", "*.model"),
    ]
    if (folder / ADAPTER).is_file():
        files = [("adapter_model.safetensors",), ("tokenizer*",)]
    for names in files if weights else files[-1:]:
        if not any(next(folder.glob(name), None) for name in names):
            # both kinds of weights that nlp.to_disk writes
            two = [name for name in names if name in (names[0], QUANTIZED_FILE)]
            raise ValueError(Errors.P114.format(path=folder, file=" or ".join(two)))


def copy_model_folder(
    source: Path,
    folder: Path,
    settings: TaskSettings,
    *,
    trusted: bool,
    link: bool = False,
) -> None:
    """Copy a model folder without loading the weights, and write new settings.

    What does not belong to the model is left out: hidden files, and unless it may hold
    code, which can read any file, those of its training and of other libraries.

    source (Path): The folder to copy.
    folder (Path): The copy. It is created if missing, and replaced if it is not the
        source itself.
    settings (TaskSettings): Written next to the weights, with the source's tags.
    trusted (bool): Whether the source may hold code.
    link (bool): Whether the copy replaces the source: then weights need no room twice.
    RAISES (ValueError): If it holds code, or links that lead out of it.
    """
    check_code(source, trusted=trusted)
    check_links(source)
    if source.resolve() != folder.resolve():
        _make_empty(folder)
        copy = _link_weights if link else _copy
        # what replaces the source must not lose what else is in it
        extras = None if link else partial(_extras, source, trusted=trusted)
        shutil.copytree(
            source, folder, ignore=extras, dirs_exist_ok=True, copy_function=copy
        )
        # read-only folders could neither be changed nor deleted
        open_folders(folder)
    write_settings(folder, replace(settings, tags=read_taught_tags(folder)))
    remove_old_tags(folder)


def _extras(source: Path, folder: str, names: list[str], *, trusted: bool) -> set[str]:
    """The names in a folder that are left out of a copy of the model."""
    return {
        name
        for name in names
        if name.startswith(".")
        or (not trusted and Path(folder) == source and _is_extra(source / name))
    }


def _is_extra(path: Path) -> bool:
    """Whether a file or a folder of a model folder is nothing that loading it reads."""
    if path.is_dir():
        return path.name not in _READ_FOLDERS and not is_license(path.name)
    of_training = any(fnmatch(path.name, pattern) for pattern in _OF_TRAINING)
    return of_training or path.suffix in _OF_OTHERS


def write_model_folder(
    folder: Path, lm: LanguageModel, settings: TaskSettings, *, dtype: torch.dtype
) -> None:
    """Write a model, or its LoRA adapter, with its tokenizer.

    folder (Path): Created if missing, replaced if it exists.
    lm (LanguageModel): The model. The licences of the one it was are written, too.
    settings (TaskSettings): Written next to the weights, with the model's tags.
    dtype (torch.dtype): The dtype of the saved weights. Those of an adapter and of
        quantized layers are saved as they are.
    RAISES (ValueError): If the weights are quantized by a method that cannot save them.
    """
    _make_empty(folder)
    if hasattr(lm.model, "peft_config"):
        # the embeddings are those of the base model
        lm.model.save_pretrained(folder, save_embedding_layers=False)
    elif lm.quantized:
        lm.model.config.save_pretrained(folder)
        write_quantized(lm.model, folder)
        _name_dtype(folder / "config.json", dtype)
    elif is_quantized(lm.model):
        _save_quantized(lm.model, folder)
    else:
        weights = _cast(lm.model.state_dict(), dtype)
        lm.model.save_pretrained(folder, state_dict=weights)
        _name_dtype(folder / "config.json", dtype)
    lm.tokenizer.save_pretrained(folder)
    for name, content in lm.licenses.items():
        (folder / name).write_bytes(content)
    write_settings(folder, replace(settings, tags=lm.tags))
    # safetensors writes files that only the owner can read
    spread_mode(folder / SETTINGS_FILE, folder)


def _save_quantized(model: Any, folder: Path) -> None:
    mend_bitsandbytes_saving(model)
    try:
        model.save_pretrained(folder)
    except (ValueError, NotImplementedError) as error:
        found = str(error).strip().rstrip(".") or type(error).__name__
        raise ValueError(Errors.P707.format(error=found)) from error


def write_tokenizer(folder: Path, tokenizer: Any, settings: TaskSettings) -> None:
    """Write the files that a client of a model server needs.

    folder (Path): Created if missing, replaced if it exists.
    tokenizer (transformers.PreTrainedTokenizerBase): The model's tokenizer.
    settings (TaskSettings): Written next to the tokenizer.
    """
    _make_empty(folder)
    tokenizer.save_pretrained(folder)
    write_settings(folder, settings)


def _copy(source: str, copy: str) -> None:
    """Copy a file, which may be read-only; the copy is not."""
    shutil.copy2(source, copy)
    allow_writing(Path(copy))


def _link_weights(source: str, copy: str) -> None:
    """Copy a file; weights, which are never changed in place, by a hard link."""
    if not source.endswith(".json"):
        # not all file systems have links
        with suppress(OSError):
            os.link(source, copy)
            return
    _copy(source, copy)


def _make_empty(folder: Path) -> None:
    """Create a folder, or empty it, so that no file of an older model is left."""
    if folder.is_dir():
        open_folders(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _cast(
    weights: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Cast weights; tied weights stay tied."""
    cast_of: dict[tuple[Any, ...], torch.Tensor] = {}
    cast = {}
    for name, tensor in weights.items():
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if memory not in cast_of:
            cast_of[memory] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        cast[name] = cast_of[memory]
    return cast


def _name_dtype(path: Path, dtype: torch.dtype) -> None:
    """Write the dtype of the saved weights to the config."""
    config = json.loads(path.read_text("utf8"))
    for key in ("torch_dtype", "dtype"):
        if key in config:
            config[key] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf8")
