"""Saving and loading of the component's settings, vocabulary and model."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.vocab import Vocab

from spacy_padellm.errors import Errors
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.task.config import TaskSettings
from spacy_padellm.lm.trust.fields import as_given, as_mapping, as_name, as_text
from spacy_padellm.replacing import recover_folder, replaced_folder

_PARTS = ("cfg", "vocab", "model")
_SHOWN = 300  # characters of another library's error


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a component that are saved and loaded.

    name (str): The component's name, for error messages.
    cfg (dict[str, Any]): Its settings, serializable as JSON.
    vocab (Vocab): The pipeline's vocabulary.
    handle (ModelHandle): The model's handle.
    weights (bool): Whether the component needs the model's weights.
    settings (TaskSettings | None): The settings to save with the model; None does not
        save the model.
    """

    name: str
    cfg: dict[str, Any]
    vocab: Vocab
    handle: ModelHandle
    weights: bool
    settings: TaskSettings | None = None


@dataclass(slots=True)
class LoadedParts:
    """The loaded parts, except the vocabulary and the model, which are set directly.

    cfg (dict[str, Any]): The settings; unchanged if none were loaded.
    model (bool): Whether a model was loaded.
    """

    cfg: dict[str, Any]
    model: bool = False


def write_folder(parts: Parts, path: str | Path, *, exclude: set[str]) -> None:
    """Write a component's folder; see `PaDeLLMNER.to_disk`.

    An error, a full disk or a killed process leaves the old folder.

    RAISES (ValueError): If saving there would harm the model's own folder.
    RAISES (OSError): If it cannot be written.
    """
    target = Path(path).resolve()
    settings = parts.settings
    cfg = {**parts.cfg, "model_saved": settings is not None}
    writers: dict[str, Callable[[Path], None]] = {
        "cfg": lambda p: srsly.write_json(p, cfg),
        "vocab": lambda p: parts.vocab.to_disk(p, exclude=exclude),
    }
    if settings is not None:
        parts.handle.check_save_place(target)
        writers["model"] = lambda p: parts.handle.save(
            p, settings, weights=parts.weights, target=target / "model"
        )
    written = [name for name in writers if name not in exclude]
    with _as_save_errors(parts.name, target):
        with suppress(ValueError):  # it cannot be mended, but may be replaced
            recover_folder(target, _PARTS)
        with replaced_folder(target, written) as folder:
            util.to_disk(folder, writers, exclude)


def read_folder(parts: Parts, path: Path, *, exclude: set[str]) -> LoadedParts:
    """Load a component's folder; see `PaDeLLMNER.from_disk`.

    RAISES (ValueError): If files are missing, or cannot be read.
    """
    recover_folder(path.resolve(), _PARTS)
    loaded = LoadedParts(parts.cfg)
    if "cfg" not in exclude:
        if not (path / "cfg").is_file():
            raise ValueError(Errors.P146.format(path=path, file="cfg"))
        with _as_read_errors(parts.name, path):
            loaded.cfg = _check_types(srsly.read_json(path / "cfg"))
    if "vocab" not in exclude and (path / "vocab").is_dir():
        with _as_read_errors(parts.name, path):
            parts.vocab.from_disk(path / "vocab", exclude=exclude)
    if "model" not in exclude:
        if (path / "model").is_dir():
            parts.handle.open(path / "model", weights=parts.weights)
            loaded.model = True
        elif loaded.cfg.get("model_saved"):
            raise ValueError(Errors.P145.format(path=path, name=parts.name))
    return loaded


def write_bytes(parts: Parts, *, exclude: set[str]) -> bytes:
    """Serialize a component; see `PaDeLLMNER.to_bytes`."""
    settings = parts.settings
    writers: dict[str, Callable[[], Any]] = {
        "cfg": lambda: srsly.json_dumps(parts.cfg),
        "vocab": lambda: parts.vocab.to_bytes(exclude=exclude),
    }
    if settings is not None:
        writers["model"] = lambda: parts.handle.to_files(
            settings, weights=parts.weights
        )
    return util.to_bytes(writers, exclude)


def read_bytes(parts: Parts, data: bytes, *, exclude: set[str]) -> LoadedParts:
    """Load the bytes of `write_bytes`.

    RAISES (ValueError): If they cannot be read.
    """
    loaded = LoadedParts(parts.cfg)
    with _as_read_errors(parts.name, "bytes"):
        message = as_mapping(_unpack(data), "content", as_given)
    exclude = {*_PARTS} - message.keys() | exclude
    with _as_read_errors(parts.name, "bytes"):
        if "cfg" not in exclude:
            loaded.cfg = _check_types(srsly.json_loads(message["cfg"]))
        if "vocab" not in exclude:
            parts.vocab.from_bytes(message["vocab"], exclude=exclude)
    if "model" not in exclude:
        parts.handle.from_files(message["model"], weights=parts.weights)
        loaded.model = True
    return loaded


def _unpack(data: bytes) -> Any:
    """Read a msgpack message; srsly leaves the garbage collector off if it cannot."""
    was_on = gc.isenabled()
    try:
        return srsly.msgpack_loads(data)
    finally:
        if was_on:
            gc.enable()


def _check_types(cfg: Any) -> dict[str, Any]:
    """Check what `check_cfg` leaves open.

    RAISES (ValueError): If a setting has the wrong type.
    """
    checked = as_mapping(cfg, "cfg", as_given)
    if "labels" in checked:
        checked["labels"] = as_mapping(checked["labels"], "labels", as_name)
    if "spans_key" in checked:
        checked["spans_key"] = as_text(checked["spans_key"], "spans_key")
    return checked


@contextmanager
def _as_save_errors(name: str, target: Path) -> Iterator[None]:
    """Turn the system's errors, as several libraries raise them, into one message."""
    try:
        yield
    except Exception as error:
        found = _system_error(error)
        if found is None:
            raise
        message = Errors.P850.format(name=name, path=target, error=found)
        raise OSError(message) from error


def _system_error(error: Exception) -> str | None:
    """The words of an error of the system; None for other errors."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return str(error.args[0][0][2])  # of the first of many files
    # safetensors and tokenizers raise errors of their own
    is_of_system = isinstance(error, OSError) or "(os error " in str(error)
    return str(error) if is_of_system else None


@contextmanager
def _as_read_errors(name: str, source: Path | str) -> Iterator[None]:
    """Turn the many errors of damaged files into one message."""
    try:
        yield
    except Exception as error:
        # spaCy and msgpack raise any kind of error
        found = str(error)[:_SHOWN] or type(error).__name__
        message = Errors.P511.format(name=name, source=source, error=found)
        raise ValueError(message) from error
