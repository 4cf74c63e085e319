"""The state of a model's files, to see whether they were changed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from spacy_padellm.lm.files.gguf_tokenizer import tokenizer_beside
from spacy_padellm.lm.lora import base_names
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.lm.task.config import SETTINGS_FILE

# (path, time of the last change in ns, size in bytes) of each file
Stamp: TypeAlias = tuple[tuple[str, int, int], ...]


def stamp_of(source: Path, *, settings: bool = True) -> Stamp:
    """Get a value that changes when a file of a model changes.

    source (Path): A model's folder or file. The folders of an adapter's base model
        belong to it, and so does a tokenizer beside a GGUF file.
    settings (bool): Whether `padellm.json` belongs to it, which `tune` changes without
        the weights.
    RETURNS (Stamp): The state of the files.
    RAISES (OSError): If the model does not exist.
    """
    stats = []
    for path in [source, *base_models(source)]:
        is_folder = path.is_dir()
        files = sorted(path.iterdir()) if is_folder else [path, tokenizer_beside(path)]
        for file in files:
            if not file.exists():
                continue  # a link to nothing, which is reported when it is read
            if settings or file.name != SETTINGS_FILE:
                stat = file.stat()
                name = file.name if path == source else str(file)
                stats.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(stats)


def base_models(source: Path) -> list[Path]:
    """Get the folders and files on this machine that hold an adapter's base model.

    source (Path): A model's folder or file.
    RETURNS (list[Path]): The base, the base's base, ...; nothing without an adapter.
    """
    found: list[Path] = []
    waiting = [source]
    while waiting:
        for name in base_names(waiting.pop()):
            try:
                base = find_model(name)
            except ValueError:
                continue  # it is missing, which is reported when it is loaded
            if isinstance(base, Path) and base not in found:
                found.append(base)
                waiting.append(base)
    return found
