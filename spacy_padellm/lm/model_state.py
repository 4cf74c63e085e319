"""What a handle holds: a model found by its name, or one in memory alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.bundled import BUNDLED
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import find_model
from spacy_padellm.lm.model_source import ModelSource
from spacy_padellm.lm.stamp import Stamp, stamp_of
from spacy_padellm.lm.task_config import TaskSettings, read_settings


@dataclass(slots=True)
class ByName:
    """A model found by its name. Once loaded, it is held, and shared with other pipes.

    lm (LanguageModel | None): The model, once it is loaded.
    tokenizer (Any): The tokenizer, once it was loaded without the weights.
    settings (TaskSettings | None): The settings in its folder.
    stamp (Stamp | None): The state of its files on this machine when it was found. None
        for a model that is bundled, on the hub, or not found yet.
    """

    lm: LanguageModel | None = None
    tokenizer: Any = None
    settings: TaskSettings | None = None
    stamp: Stamp | None = None


@dataclass(slots=True)
class InMemory:
    """A model that is not shared: from bytes, made from scratch, or trained.

    lm (LanguageModel): The model.
    settings (TaskSettings | None): The settings of the model that it was.
    trains (bool): Whether the model was prepared for training.
    """

    lm: LanguageModel
    settings: TaskSettings | None = None
    trains: bool = False


def find_state(source: ModelSource) -> tuple[ModelSource, ByName]:
    """Find a model on this machine, without loading its weights.

    source (ModelSource): Its name, in any working directory.
    RETURNS (tuple[ModelSource, ByName]): The source, whose name holds in any other
        working directory too, and the model's settings and stamp, if it was found.
    RAISES (ValueError): If its settings cannot be read.
    """
    name = source.name
    try:
        found = find_model(name) if name else ""
    except ValueError:
        # reported at first use, as a saved pipe may still bring its folder
        return source, ByName()
    if not isinstance(found, Path):
        return source, ByName()
    settings = read_settings(found)
    if name in BUNDLED:
        return source, ByName(settings=settings)
    place = found.resolve()
    stamp = stamp_of(place, settings=False)
    return replace(source, name=str(place)), ByName(settings=settings, stamp=stamp)


def is_unchanged(name: str | None, state: ByName) -> bool:
    """Whether the model's files are those that were found.

    name (str | None): The name that `find_state` returned.
    state (ByName): What it returned with it, with a stamp.
    """
    try:
        return stamp_of(Path(name or ""), settings=False) == state.stamp
    except OSError:
        return False


def check_model_unchanged(name: str | None, state: ByName) -> None:
    """Check that the files to load are those that were found.

    RAISES (ValueError): If they were changed or deleted.
    """
    if state.stamp is not None and not is_unchanged(name, state):
        raise ValueError(Errors.P242.format(path=name))
