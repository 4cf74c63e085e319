"""What two training runs must share, so that one can continue the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from spacy.language import Language

from spacy_padellm.factory_name import FACTORY
from spacy_padellm.lm.files.gguf_tokenizer import tokenizer_beside
from spacy_padellm.lm.handle.stamp import base_models
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.lm.task.config import SETTINGS_FILE
from spacy_padellm.lm.trust.code import has_model_suffix
from spacy_padellm.text.corpus_files import corpus_files

# JSON values, by the names in `_PARTS`
Run: TypeAlias = dict[str, Any]

# settings of [training] that may change before a run is continued
_FREE = {
    "max_steps",
    "max_epochs",
    "eval_frequency",
    "patience",
    "logger",
    "dev_corpus",
    "score_weights",
    "before_to_disk",
    "gpu_allocator",
}
# settings of the component that decide what it is taught
_TAUGHT = (
    "factory",
    "model",
    "labels",
    "prompt",
    "span_getter",
    "spans_key",
    "training",
    "layout",
)
# settings of a component that do not decide what it finds
_APART = {"scorer", "decoder.devices", "model.device"}
_TOKENS = ("lang", "tokenizer")  # settings of [nlp] that cut texts into tokens
_PARTS = ("nlp", "components", "corpora", "training", "initialize", "files")
_CHUNK = 1 << 20  # bytes


def run_of(nlp: Language, *, files: Mapping[str, str] | None = None) -> Run:
    """The settings of a run, and what is in the files that it reads.

    nlp (Language): The pipeline that is trained.
    files (Mapping[str, str] | None): What `run["files"]` was found to be before; None
        reads the files.
    RETURNS (Run): JSON values. Files of training texts and of models on this machine
        are told by their content, wherever they are.
    RAISES (OSError): If one of the files cannot be read.
    """
    config = nlp.config.interpolate()
    training = {k: v for k, v in config["training"].items() if k != "before_update"}
    if files is None:
        read = [
            *_corpus_files(config),
            *_label_files(config),
            *_model_files(nlp, _teacher(config)),
        ]
        files = {name: _digest(paths) for name, paths in read if paths}
    run = {
        "nlp": {key: config["nlp"].get(key) for key in _TOKENS},
        "components": config["components"],
        "corpora": config["corpora"],
        "training": training,
        "initialize": config["initialize"].get("components", {}),
        "files": dict(files),
    }
    whole: Run = json.loads(json.dumps(run))
    return whole


def differences(first: Run, second: Run) -> list[str]:
    """The settings and files that keep a run from continuing another.

    first, second (Run): The runs.
    RETURNS (list[str]): Their names, e.g. "training.seed"; none if it can.
    RAISES (KeyError, TypeError, AttributeError): If one of them is something else.
    """
    parts = [_shared(run) for run in (first, second)]
    names = sorted({*parts[0], *parts[1]})
    return [name for name in names if parts[0].get(name) != parts[1].get(name)]


def _shared(run: Run) -> dict[str, Any]:
    """The part of a run that its continuation must share: name -> value."""
    nlp, components, corpora, training, initialize, files = (run[p] for p in _PARTS)
    texts = str(training["train_corpus"])
    teacher = _teacher(run)
    shared = {
        "nlp": nlp,
        "components": {
            name: _finding(part) if name == teacher else _taught(part)
            for name, part in components.items()
        },
        # the other corpora are not trained on
        texts: _section(corpora, texts),
        "training": _steering(training),
        "initialize": initialize,
    }
    values = dict(_flat(shared))
    for name, content in files.items():
        values.pop(name, None)  # where they are does not matter
        values[f"the files of {name}"] = content
    return values


def _taught(component: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a component that decide what it learns."""
    if component.get("factory") != FACTORY:
        return component
    model = component.get("model") or {}
    # the decoder's settings change no update, but its kind does
    decoder = (component.get("decoder") or {}).get("@misc")
    return {
        **{key: component.get(key) for key in _TAUGHT},
        "model": {key: value for key, value in model.items() if key != "device"},
        "decoder": {"@misc": decoder},
    }


def _finding(component: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a component that decide what it finds and what it learns."""
    return {
        name: value
        for name, value in _flat(component)
        if name not in _APART and name.partition(".")[0] not in _APART
    }


def _teacher(config: Mapping[str, Any]) -> str | None:
    """The component whose mentions in old texts are trained on, if there are any.

    config (Mapping[str, Any]): The config of a pipeline, or a run.
    """
    corpus = _section(config["corpora"], str(config["training"]["train_corpus"]))
    is_taught_old_texts = corpus.get("old_texts") is not None
    return corpus.get("component", FACTORY) if is_taught_old_texts else None


def _steering(training: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of `[training]` that decide what a step does."""
    settings = {key: value for key, value in training.items() if key not in _FREE}
    # below 0 the texts are not shuffled
    settings["max_epochs"] = -1 if training["max_epochs"] < 0 else 0
    rate = (training.get("optimizer") or {}).get("learn_rate")
    if isinstance(rate, Mapping) and rate.get("total_steps", 0) is None:
        # the learning rate falls until then
        settings["max_steps"] = training["max_steps"]
    return settings


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested sections, each with its name."""
    if isinstance(value, Mapping):
        for key, content in value.items():
            yield from _flat(content, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _section(corpora: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The section of a corpus, by its name, e.g. "corpora.train"."""
    section = corpora
    for key in name.split(".")[1:]:
        section = section.get(key) or {}
    return section


def _corpus_files(config: Mapping[str, Any]) -> Iterator[tuple[str, list[Path]]]:
    """The files of the training texts: (name of their setting, paths)."""
    corpus = str(config["training"]["train_corpus"])
    for name, value in _flat(_section(config["corpora"], corpus), corpus):
        if not name.rpartition(".")[2].startswith("@"):
            yield name, _files_at(value)


def _label_files(config: Mapping[str, Any]) -> Iterator[tuple[str, list[Path]]]:
    """The files that labels are read from: (name of their setting, paths)."""
    for name, value in _flat(config["initialize"].get("components", {}), "initialize"):
        if name.endswith(".path"):
            yield name, _files_at(value)


def _files_at(value: Any) -> list[Path]:
    """The files of a setting that is a path, or a list of paths."""
    places = value if isinstance(value, list) else [value]
    paths = [Path(place) for place in places if isinstance(place, str) and place]
    # a missing one is told by its reader
    return [file for path in paths if _exists(path) for file in corpus_files(path)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a string that is too long for a name
        return False


def _model_files(
    nlp: Language, teacher: str | None
) -> Iterator[tuple[str, list[Path]]]:
    """The files of the models that are trained: (name of their setting, paths).

    nlp (Language): The pipeline.
    teacher (str | None): See `_teacher`.
    """
    components: list[tuple[str, Any]] = nlp.components
    for name, pipe in components:
        if nlp.get_pipe_meta(name).factory != FACTORY:
            continue
        # the place that it was loaded from; the config may have another
        place = pipe.handle.source.name
        try:
            path = find_model(place) if place else None
        except ValueError:
            continue  # its weights came with the pipeline
        if isinstance(path, Path):
            found = [file for p in (path, *base_models(path)) for file in _inside(p)]
            settings = path / SETTINGS_FILE
            if name == teacher and settings.is_file():
                found.append(settings)  # its thresholds decide what is found
            yield f"components.{name}.model.name", found


def _inside(model: Path) -> list[Path]:
    """The files of a model, without its settings: thresholds may be tuned meanwhile."""
    if not model.is_dir():  # a GGUF file, and the tokenizer that goes before its own
        beside = tokenizer_beside(model)
        return [model, *([beside] if beside.is_file() else [])]
    return sorted(
        file
        for file in model.iterdir()
        if file.is_file() and has_model_suffix(file.name) and file.name != SETTINGS_FILE
    )


def _digest(paths: list[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
