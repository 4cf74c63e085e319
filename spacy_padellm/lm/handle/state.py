"""The state of a handle: a model found by its name, or one in memory alone."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spacy_padellm.lm.devices.choose import choose_device, enter_process
from spacy_padellm.lm.files.model_files import write_model_files
from spacy_padellm.lm.handle.location import (
    Bytes,
    Elsewhere,
    Location,
    UserFiles,
    locate,
)
from spacy_padellm.lm.handle.shared import load_shared
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_placed, load_tokenizer
from spacy_padellm.lm.task.config import TaskSettings, read_settings


@dataclass(slots=True)
class ByName:
    """A model found by its name. Once loaded, it is held, and shared with other pipes.

    location (Location): Where its files are.
    settings (TaskSettings | None): The settings in its folder.
    lm (LanguageModel | None): The model, once it is loaded.
    tokenizer (Any): The tokenizer, if it was loaded without the weights and is kept.
    """

    location: Location
    settings: TaskSettings | None = None
    lm: LanguageModel | None = None
    tokenizer: Any = None

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
    made (bool): Whether this process made it from scratch.
    """

    lm: LanguageModel
    settings: TaskSettings | None = None
    trains: bool = False
    made: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the model is usable without its folder and the hub: it always is."""
        return True


def find_state(source: ModelSource) -> tuple[ModelSource, ByName]:
    """Find a model on this machine, without loading its weights.

    source (ModelSource): Its name, in the working directory of now.
    RETURNS (tuple[ModelSource, ByName]): The source, whose name holds in any other
        working directory too, and what is known of the model.
    RAISES (ValueError): If its settings cannot be read.
    """
    location = locate(source.name)
    if isinstance(location, Elsewhere):
        return source, ByName(location)
    if isinstance(location, UserFiles):
        source = replace(source, name=str(location.path))
    return source, ByName(location, read_settings(location.path))


def shared_lm(source: ModelSource, state: ByName) -> LanguageModel:
    """Get the model for predictions, which other pipes use as well.

    source (ModelSource): The model.
    state (ByName): What is known of it; keeps the model.
    RAISES (ValueError): If it cannot be loaded.
    """
    # looking for a GPU takes longer than a small model needs for a text
    if state.lm is not None:
        enter_process(state.lm.device)
        return state.lm
    name = source.needed_name()
    enter_process(choose_device(source.device))
    state.location.check_unchanged()
    state.lm = load_shared(
        name,
        source.placement(),
        revision=source.revision,
        trust_remote_code=source.trust_remote_code,
    )
    return state.lm


def tokenizer_of(source: ModelSource, state: ByName) -> Any:
    """Get the tokenizer of a model without loading its weights.

    source (ModelSource): The model.
    state (ByName): What is known of it; keeps the tokenizer of a folder.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If it cannot be loaded.
    """
    if state.tokenizer is not None:
        return state.tokenizer
    name = source.needed_name()
    if state.lm is not None:
        # the other pipes of the model may be using its own
        return copy.deepcopy(state.lm.tokenizer)
    state.location.check_unchanged()
    tokenizer = load_tokenizer(
        name, revision=source.revision, trust_remote_code=source.trust_remote_code
    )
    if isinstance(state.location, UserFiles):
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
            return ByName(Bytes(), settings, tokenizer=tokenizer)
        placement = source.placement()
        lm = load_placed(str(folder), placement, revision=None, trust_remote_code=code)
        lm.pack_weights(int8=placement.int8)
        return InMemory(lm, settings)
