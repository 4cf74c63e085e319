"""A Hugging Face model folder: what it must hold, and how it is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import ADAPTER
from spacy_padellm.lm.tags import save_tags
from spacy_padellm.lm.task_config import FILE_NAME, TaskSettings, write_settings


def check_folder(folder: Path, *, weights: bool) -> None:
    """Check that a folder holds a model.

    folder (Path): The folder.
    weights (bool): Whether it must hold weights, or only a tokenizer.
    RAISES (ValueError): If files are missing.
    """
    files: list[tuple[str, ...]] = [
        ("config.json",),
        ("model.safetensors", "model.safetensors.index.json", "*.bin"),
        ("tokenizer*", "vocab*", "*.model"),
    ]
    if (folder / ADAPTER).is_file():
        files = [("adapter_model.safetensors",), ("tokenizer*",)]
    for names in files if weights else files[-1:]:
        if not any(next(folder.glob(name), None) for name in names):
            raise ValueError(Errors.P114.format(path=folder, file=names[0]))


def copy_folder(source: Path, folder: Path) -> None:
    """Copy a model folder byte for byte, without reading 15 GB into memory.

    source (Path): The folder.
    folder (Path): Made if it is missing, replaced if it is another one.
    """
    if source.resolve() != folder.resolve():
        _fresh(folder)
        shutil.copytree(source, folder, dirs_exist_ok=True)


def write_folder(
    folder: Path, lm: LanguageModel, settings: TaskSettings, *, dtype: torch.dtype
) -> None:
    """Write a model, or its LoRA adapter, with its tokenizer.

    folder (Path): Made if it is missing, replaced if it is there.
    lm (LanguageModel): The model.
    settings (TaskSettings): Written beside the weights.
    dtype (torch.dtype): Of the weights; an adapter's stay as they are.
    RAISES (ValueError): If the folder holds the base model of a LoRA adapter.
    """
    for config in getattr(lm.model, "peft_config", {}).values():
        if Path(config.base_model_name_or_path).resolve() == folder.resolve():
            raise ValueError(Errors.P133.format(path=folder))
    _fresh(folder)
    if hasattr(lm.model, "peft_config"):
        # the base model has the other embeddings
        lm.model.save_pretrained(folder, save_embedding_layers=False)
        save_tags(folder, lm.model.config)
    else:
        weights = _cast(lm.model.state_dict(), dtype)
        lm.model.save_pretrained(folder, state_dict=weights)
        _name_dtype(folder / "config.json", dtype)
    lm.tokenizer.save_pretrained(folder)
    write_settings(folder, settings)
    for path in folder.iterdir():
        # safetensors writes files that only their owner can read
        shutil.copymode(folder / FILE_NAME, path)


def write_tokenizer(folder: Path, tokenizer: Any, settings: TaskSettings) -> None:
    """Write all that a client of a model server needs.

    folder (Path): Made if it is missing, replaced if it is there.
    tokenizer (transformers.PreTrainedTokenizerBase): The model's tokenizer.
    settings (TaskSettings): Written beside it.
    """
    _fresh(folder)
    tokenizer.save_pretrained(folder)
    write_settings(folder, settings)


def _fresh(folder: Path) -> None:
    """An empty folder: no file of an older model stays behind."""
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _cast(
    weights: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Cast weights, and let tied ones stay tied."""
    done: dict[tuple[Any, ...], torch.Tensor] = {}
    cast = {}
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in done:
            done[place] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        cast[name] = done[place]
    return cast


def _name_dtype(path: Path, dtype: torch.dtype) -> None:
    """Let the config name the dtype that was written."""
    config = json.loads(path.read_text("utf8"))
    for key in ("torch_dtype", "dtype"):
        if key in config:
            config[key] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf8")
