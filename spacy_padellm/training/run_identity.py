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
from spacy_padellm.lm.task.config import FILE_NAME
from spacy_padellm.lm.trust.code import has_model_suffix

# JSON values, by the names in `_PARTS`
Run: TypeAlias = dict[str, Any]

_FACTORY = "padellm_ner"
# settings of [training] that may change before a run is continued
_FREE = {"max_steps", "max_epochs", "eval_frequency", "patience", "logger"}
# settings of the component that decide what it is taught
_TAUGHT = ("factory", "model", "labels", "prompt", "span_getter", "training", "layout")
_PARTS = ("components", "corpora", "training", "initialize", "files")
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
    files = [*_corpus_files(config), *_model_files(nlp)]
    run = {
        "components": config["components"],
        "corpora": config["corpora"],
        "training": training,
        "initialize": config["initialize"].get("components", {}),
        "files": {name: _digest(paths) for name, paths in files},
    }
    whole: Run = json.loads(json.dumps(run))
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
    parts = {part: run[part] for part in _PARTS}
    return {**parts, "components": components, "training": training}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, each with its name."""
    if isinstance(value, Mapping):
        for key, content in value.items():
            start = "" if name in ("", "files") else f"{name}."
            yield from _flat(content, f"{start}{key}")
    else:
        yield name, value


def _corpus_files(config: Mapping[str, Any]) -> Iterator[tuple[str, list[Path]]]:
    """The files of the training texts: (name, paths)."""
    corpus = config["corpora"]
    for key in str(config["training"]["train_corpus"]).split(".")[1:]:
        corpus = corpus.get(key) or {}
    for key, value in _flat(corpus):
        if not isinstance(value, str) or key.startswith("@"):
            continue
        path = Path(value)
        found = path.rglob("*") if path.is_dir() else [path]
        # a missing one is told by its reader
        files = [f for f in found if f.is_file() and not f.name.startswith(".")]
        yield f"the texts of {value}", sorted(files)


def _model_files(nlp: Language) -> Iterator[tuple[str, list[Path]]]:
    """The files of the models that are trained: (name, paths)."""
    components: list[tuple[str, Any]] = nlp.components
    for name, pipe in components:
        if nlp.get_pipe_meta(name).factory != _FACTORY:
            continue
        # the place that it was loaded from; the config may have another
        place = pipe.handle.source.name
        try:
            path = find_model(place) if place else None
        except ValueError:
            continue  # its weights came with the pipeline
        if isinstance(path, Path):
            found = [file for p in (path, *base_models(path)) for file in _inside(p)]
            yield f"the model of {name}", sorted(found)


def _inside(model: Path) -> list[Path]:
    """The files of a model, without its settings: thresholds may be tuned meanwhile."""
    files = model.iterdir() if model.is_dir() else [model]
    return [
        file
        for file in files
        if file.is_file() and has_model_suffix(file.name) and file.name != FILE_NAME
    ]


def _digest(paths: list[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
