"""What two training runs must share, so that one can continue the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language

from spacy_padellm.lm.handle.stamp import base_models
from spacy_padellm.lm.model_names import find_model

# "components", "corpora", "training" and "files": JSON values
Run: TypeAlias = dict[str, Any]

_FACTORY = "padellm_ner"
# settings of [training] that may change before a run is continued
_FREE = {"max_steps", "max_epochs", "eval_frequency", "patience", "logger"}
# settings of the component that decide what it is taught
_TAUGHT = ("factory", "model", "labels", "prompt", "span_getter", "training", "layout")
_PARTS = ("components", "corpora", "training", "files")
_CHUNK = 1 << 20  # bytes


def run_of(nlp: Language) -> Run:
    """The settings of a run, and what is in the files that it reads.

    nlp (Language): The pipeline that is trained.
    RETURNS (Run): JSON values. Files of training texts and of models on this machine
        are told by their content.
    RAISES (OSError): If one of the files cannot be read.
    """
    config = nlp.config.interpolate()
    training = {k: v for k, v in config["training"].items() if k != "before_update"}
    run = {"components": config["components"], "corpora": config["corpora"]}
    files = {name: _digest(paths) for name, paths in _files(config)}
    whole: Run = json.loads(json.dumps({**run, "training": training, "files": files}))
    return whole


def differences(first: Run, second: Run) -> list[str]:
    """The settings and files that keep a run from continuing another.

    first, second (Run): The runs.
    RETURNS (list[str]): Their names, e.g. "training.seed"; none if it can.
    RAISES (KeyError, TypeError, AttributeError): If one of them is something else.
    """
    parts = [dict(_flat(_shared(run))) for run in (first, second)]
    names = sorted({*parts[0], *parts[1]})
    return [name for name in names if parts[0].get(name) != parts[1].get(name)]


def _shared(run: Run) -> Run:
    """The part of a run that its continuation must share."""
    components = {}
    for name, settings in run["components"].items():
        if settings.get("factory") == _FACTORY:
            # the decoder's settings change no update, but its kind does
            decoder = (settings.get("decoder") or {}).get("@misc")
            taught = {key: settings.get(key) for key in _TAUGHT}
            settings = {**taught, "decoder": {"@misc": decoder}}
        components[name] = settings
    training = {k: v for k, v in run["training"].items() if k not in _FREE}
    rate = (training.get("optimizer") or {}).get("learn_rate")
    if isinstance(rate, Mapping) and rate.get("total_steps", 0) is None:
        # the learning rate falls until then
        training["max_steps"] = run["training"]["max_steps"]
    return {**{part: run[part] for part in _PARTS}, "components": components} | {
        "training": training
    }


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, each with its name."""
    if isinstance(value, Mapping):
        for key, content in value.items():
            # a file's name holds dots
            end = ".content" if name == "files" else ""
            start = "" if name in ("", "files") else f"{name}."
            yield from _flat(content, f"{start}{key}{end}")
    else:
        yield name, value


def _files(config: Mapping[str, Any]) -> Iterator[tuple[str, list[Path]]]:
    """The files of training texts and of models: (name, paths)."""
    corpus = config["corpora"]
    for key in str(config["training"]["train_corpus"]).split(".")[1:]:
        corpus = corpus.get(key) or {}
    for key, value in _flat(corpus):
        if isinstance(value, str) and not key.startswith("@"):
            yield value, _inside(Path(value), deep=True)
    for component in config["components"].values():
        model: Any = component.get("model") or {}
        if component.get("factory") == _FACTORY and model.get("name"):
            path = find_model(model["name"])
            if isinstance(path, Path):
                folders = [path, *base_models(path)]
                files = [file for folder in folders for file in _inside(folder)]
                yield model["name"], files


def _inside(path: Path, *, deep: bool = False) -> list[Path]:
    """The files of a folder, or the file; none if it is missing, as is told later."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    found = path.rglob("*") if deep else path.iterdir()
    return sorted(file for file in found if file.is_file())


def _digest(paths: list[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
