"""Saving and loading of the component's settings, vocabulary and model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.vocab import Vocab

from spacy_padellm.errors import Errors
from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.lm.task_config import TaskSettings
from spacy_padellm.writable import replaced_folder


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a component that are saved.

    name (str): The component's name, for error messages.
    cfg (Callable[[], dict[str, Any]]): Returns its settings, serializable as JSON.
    vocab (Vocab): The pipeline's vocabulary.
    handle (ModelHandle): The model's handle.
    task (Callable[[], TaskSettings]): Returns the settings that are saved with the
        weights. May change the result of `cfg`: it can add the model's labels.
    weights (bool): Whether the component needs the model's weights.
    """

    name: str
    cfg: Callable[[], dict[str, Any]]
    vocab: Vocab
    handle: ModelHandle
    task: Callable[[], TaskSettings]
    weights: bool


@dataclass(slots=True)
class Loaded:
    """The loaded parts, except the vocabulary and the model, which are set directly.

    cfg (dict[str, Any]): The settings; unchanged if none were loaded.
    model (bool): Whether a model was loaded.
    """

    cfg: dict[str, Any]
    model: bool = False


def write_folder(parts: Parts, path: str | Path, *, exclude: Iterable[str]) -> None:
    """Write a component's folder; see `PaDeLLMNER.to_disk`.

    An error, a full disk or a killed process leaves the old folder.

    RAISES (ValueError): If saving there would harm the model's own folder.
    """
    place = Path(path).resolve()
    exclude = set(exclude)
    has_model = "model" not in exclude and not parts.handle.empty
    writers: dict[str, Callable[[Path], None]] = {
        # called after `parts.task` below, which may add the model's labels
        "cfg": lambda p: srsly.write_json(p, {**parts.cfg(), "model_saved": has_model}),
        "vocab": lambda p: parts.vocab.to_disk(p, exclude=exclude),
    }
    if has_model:
        parts.handle.check_place(place)
        task = parts.task()
        writers["model"] = lambda p: parts.handle.save(
            p, task, weights=parts.weights, place=place / "model"
        )
    written = [name for name in writers if name not in exclude]
    with replaced_folder(place, written) as folder:
        util.to_disk(folder, writers, exclude)


def read_folder(parts: Parts, path: Path, *, exclude: Iterable[str]) -> Loaded:
    """Load a component's folder; see `PaDeLLMNER.from_disk`."""
    loaded = Loaded(parts.cfg())
    if "cfg" not in exclude:
        if not (path / "cfg").is_file():
            raise ValueError(Errors.P146.format(path=path, file="cfg"))
        loaded.cfg = srsly.read_json(path / "cfg")
    if "vocab" not in exclude and (path / "vocab").is_dir():
        parts.vocab.from_disk(path / "vocab", exclude=exclude)
    if "model" not in exclude:
        if (path / "model").is_dir():
            parts.handle.open(path / "model", weights=parts.weights)
            loaded.model = True
        elif loaded.cfg.get("model_saved"):
            raise ValueError(Errors.P145.format(path=path, name=parts.name))
    return loaded


def write_bytes(parts: Parts, *, exclude: Iterable[str]) -> bytes:
    """Serialize a component; see `PaDeLLMNER.to_bytes`."""
    writers: dict[str, Callable[[], Any]] = {
        "cfg": lambda: srsly.json_dumps(parts.cfg()),
        "vocab": lambda: parts.vocab.to_bytes(exclude=exclude),
    }
    if "model" not in exclude and not parts.handle.empty:
        task = parts.task()
        writers["model"] = lambda: parts.handle.to_files(task, weights=parts.weights)
    return util.to_bytes(writers, exclude)


def read_bytes(parts: Parts, data: bytes, *, exclude: Iterable[str]) -> Loaded:
    """Load the bytes of `write_bytes`."""
    loaded = Loaded(parts.cfg())

    def read_cfg(cfg: bytes) -> None:
        loaded.cfg = srsly.json_loads(cfg)

    def read_model(files: dict[str, bytes]) -> None:
        parts.handle.from_files(files, weights=parts.weights)
        loaded.model = True

    readers: dict[str, Callable[[Any], Any]] = {
        "cfg": read_cfg,
        "vocab": lambda vocab: parts.vocab.from_bytes(vocab, exclude=exclude),
        "model": read_model,
    }
    util.from_bytes(data, readers, exclude)
    return loaded
