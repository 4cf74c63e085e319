"""The state of a handle: a model found by its name, or one in memory alone."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.files.model_files import write_model_files
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.handle.stamp import Stamp, stamp_of
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_placed, load_tokenizer
from spacy_padellm.lm.model_names import find_model
from spacy_padellm.lm.task.config import TaskSettings, read_settings


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

    @property
    def is_complete(self) -> bool:
        """Whether the model is usable without its folder and the hub."""
        return self.lm is not None or self.tokenizer is not None


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

    @property
    def is_complete(self) -> bool:
        """Whether the model is usable without its folder and the hub: it always is."""
        return True


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
    path = found.resolve()
    stamp = stamp_of(path, settings=False)
    return replace(source, name=str(path)), ByName(settings=settings, stamp=stamp)


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

    name, state: See `is_unchanged`. Models without a stamp are not checked.
    RAISES (ValueError): If they were changed or deleted.
    """
    if state.stamp is not None and not is_unchanged(name, state):
        raise ValueError(Errors.P242.format(path=name))


def unchanged_folder(name: str | None, state: ByName) -> Path | None:
    """The model's folder on this machine, if it is as it was when it was found.

    name (str | None): The name that `find_state` returned.
    state (ByName): What it returned with it.
    """
    if state.stamp is not None:
        source = Path(name or "") if is_unchanged(name, state) else None
    elif state.tokenizer is not None or name is None:
        return None  # it came from bytes
    else:
        found = find_model(name)
        source = found if isinstance(found, Path) else None
    return source if source is not None and source.is_dir() else None


def tokenizer_of(source: ModelSource, state: ByName) -> Any:
    """Get the tokenizer of a model without loading its weights.

    source (ModelSource): The model.
    state (ByName): What is known of it; keeps the tokenizer of a folder.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If it cannot be loaded.
    """
    if state.tokenizer is not None:
        return state.tokenizer
    if source.name is None:
        raise ValueError(Errors.P130)
    if state.lm is not None:
        # the other pipes of the model may be using its own
        return copy.deepcopy(state.lm.tokenizer)
    check_model_unchanged(source.name, state)
    tokenizer = load_tokenizer(
        source.name,
        revision=source.revision,
        trust_remote_code=source.trust_remote_code,
    )
    if state.stamp is not None:
        state.tokenizer = tokenizer
    return tokenizer


def state_of_files(
    files: Mapping[str, bytes], source: ModelSource, *, weights: bool
) -> ByName | InMemory:
    """Load a model from the files of a model folder.

    files (Mapping[str, bytes]): File name -> content.
    source (ModelSource): The settings of its device and dtype, and the trust.
    weights (bool): Whether to load the weights, or the tokenizer alone.
    RAISES (ValueError): If a name is not that of a file alone, or the model cannot be
        loaded, or it has code that is not trusted.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model_files(folder, files)
        settings = read_settings(folder)
        code = source.trust_remote_code
        if not weights:
            tokenizer = load_tokenizer(str(folder), trust_remote_code=code)
            return ByName(tokenizer=tokenizer, settings=settings)
        placement = source.placement()
        lm = load_placed(str(folder), placement, revision=None, trust_remote_code=code)
        lm.pack_weights(int8=placement.int8)
        return InMemory(lm, settings)
