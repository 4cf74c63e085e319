"""The handle of a component's model: load it, train it, save it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.compat.python import is_starting_process
from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.choose import enter_process
from spacy_padellm.lm.files.hub import fetch_optional_file
from spacy_padellm.lm.files.model_files import read_model_files
from spacy_padellm.lm.handle.location import Bytes, Elsewhere, Package, UserFiles
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.handle.state import (
    ByName,
    InMemory,
    find_state,
    shared_lm,
    state_of_files,
    tokenizer_of,
)
from spacy_padellm.lm.handle.trainable import (
    load_unshared,
    make_trainable,
    place_for_training,
)
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import ADAPTER
from spacy_padellm.lm.model_names import check_source, find_model
from spacy_padellm.lm.quantization.compute import is_stored_quantized
from spacy_padellm.lm.saving.folder import (
    check_model_folder,
    copy_model_folder,
    write_model_folder,
    write_tokenizer,
)
from spacy_padellm.lm.saving.place import check_save_place
from spacy_padellm.lm.task.config import SETTINGS_FILE, TaskSettings, read_settings
from spacy_padellm.lm.trust.links import check_place
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.tokens import PromptTokens

# as spaCy names them in the output folder
_OUTPUTS = {"model-best", "model-last"}


class ModelHandle:
    """Holds a model, which is loaded when it is opened, or else at first use.

    Until the model is trained, its weights are shared by all pipes of the process that
    name the same model, and by copies of the handle. A loaded model does not need its
    folder any more. One that is still to be loaded is loaded as it was found, or not at
    all.

    needs_weights (bool): Whether the weights are used, or the tokenizer alone.
    """

    def __init__(self, source: ModelSource) -> None:
        """Find the model, without loading it.

        source (ModelSource): Its name, its device and its dtype.
        RAISES (ValueError): If its settings cannot be read.
        """
        self.source = source
        self.needs_weights = True
        self._state: ByName | InMemory = ByName(Elsewhere())
        self._hub_settings: TaskSettings | None = None  # set by `hub_settings`
        self._client_tokens: PromptTokens | None = None
        self._find()

    def _find(self) -> None:
        """Find the model on this machine, if it was not found or loaded yet."""
        if self._is_elsewhere and not self._state.is_complete:
            self.source, self._state = find_state(self.source)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the model's files, if there are any, were not found here."""
        state = self._state
        return isinstance(state, ByName) and isinstance(state.location, Elsewhere)

    @property
    def empty(self) -> bool:
        """Whether there is neither a model nor a name to load one by."""
        return self.source.name is None and not self._state.is_complete

    @property
    def made_here(self) -> bool:
        """Whether this process made the model from scratch."""
        return isinstance(self._state, InMemory) and self._state.made

    @property
    def trained(self) -> bool:
        """Whether the weights were prepared for training."""
        return isinstance(self._state, InMemory) and self._state.trains

    @property
    def settings(self) -> TaskSettings | None:
        """The model's settings, as far as they are known without asking the hub."""
        return self._state.settings or self._hub_settings

    @property
    def has_adapters(self) -> bool:
        """Whether adapters are trained, and not all weights, as far as that is known
        without asking the hub."""
        state = self._state
        if self.source.lora is not None:
            return True
        if state.lm is not None:
            return hasattr(state.lm.model, "peft_config")
        folder = state.location.folder() if isinstance(state, ByName) else None
        return folder is not None and (folder / ADAPTER).is_file()

    @property
    def is_in_output(self) -> bool:
        """Whether its folder is in one that `spacy train` deletes when it begins."""
        state = self._state
        folder = state.location.folder() if isinstance(state, ByName) else None
        return folder is not None and not _OUTPUTS.isdisjoint(folder.parts)

    @property
    def origin(self) -> str:
        """The model's name in messages."""
        if self.source.name is None:
            return "a model from scratch"
        match self._state:
            case InMemory(trains=False) | ByName(location=Bytes()):
                return "the model in memory"  # the config may name another
        return self.source.name

    @property
    def bundled(self) -> str | None:
        """The name of the bundled model that is in use, if it is one."""
        match self._state:
            case ByName(location=Package()):
                return self.source.name
        return None

    def hub_settings(self) -> TaskSettings | None:
        """Get the model's settings, from the hub if they are there.

        RAISES (ValueError): If the hub has no such model, or cannot be reached.
        """
        self._find()
        if self.source.name is None or not self._is_elsewhere:
            return self.settings
        found = find_model(self.source.name)
        if isinstance(found, str):
            path = fetch_optional_file(
                found, SETTINGS_FILE, revision=self.source.revision
            )
            self._hub_settings = read_settings(path.parent) if path else None
        return self.settings

    def check(self) -> None:
        """Check that there is a model.

        RAISES (ValueError): If there is none.
        """
        if self.empty:
            raise ValueError(Errors.P130)
        if not self._state.is_complete and self.source.name is not None:
            check_source(self.source.name, revision=self.source.revision)

    # Using

    def lm(self) -> LanguageModel:
        """Get the model for predictions.

        RAISES (ValueError): If it cannot be loaded.
        """
        self._find()
        if isinstance(self._state, InMemory):
            enter_process(self._state.lm.device)
            return self._state.lm
        return shared_lm(self.source, self._state)

    def client_tokens(self, prompt: Prompt) -> PromptTokens:
        """Get the token ids of a prompt without loading the model's weights.

        prompt (Prompt): The prompt.
        RAISES (ValueError): If the tokenizer cannot be loaded.
        """
        if isinstance(self._state, InMemory):
            return self._state.lm.tokens_of(prompt)
        if self._client_tokens is None or self._client_tokens.prompt != prompt:
            self._client_tokens = PromptTokens(
                prompt, tokenizer_of(self.source, self._state)
            )
        return self._client_tokens

    def use(self, lm: LanguageModel) -> None:
        """Use a model that is in memory.

        lm (LanguageModel): The model.
        """
        self._state = InMemory(lm)
        self._client_tokens = None

    def use_new(self, make: Callable[[], LanguageModel]) -> None:
        """Use a model made from scratch, on the device of the config.

        make (Callable[[], LanguageModel]): Makes the model.
        """
        lm = make()
        lm.fused_layers = self.source.fused_layers
        place_for_training(lm, self.source)
        self._state = InMemory(lm, made=True)
        self._client_tokens = None

    def trainable(self, special_tokens: Sequence[str]) -> LanguageModel:
        """Get the model for training, with weights that are not shared.

        special_tokens (Sequence[str]): The prompt's special tokens; missing ones are
            added to the tokenizer.
        RAISES (ValueError): If the model cannot be loaded, is split over several
            devices, or all its weights would be trained, and they are quantized.
        """
        if self.source.device_map is not None:
            raise ValueError(Errors.P886)
        if isinstance(self._state, InMemory) and self._state.trains:
            return self._state.lm
        state = self._state
        lm = (
            state.lm
            if isinstance(state, InMemory)
            else load_unshared(self.source, state)
        )
        lm.unpack_weights()
        lm = make_trainable(lm, self.source, special_tokens)
        self._state = InMemory(
            lm, self._state.settings, trains=True, made=self.made_here
        )
        return lm

    # Saving

    def check_save_place(self, folder: Path) -> None:
        """See `place.check_save_place`."""
        state = self._state
        copied = isinstance(state, ByName)
        check_save_place(folder, self.source.name, state.lm, copied=copied)

    def save(
        self,
        folder: Path,
        settings: TaskSettings,
        *,
        weights: bool = True,
        target: Path | None = None,
    ) -> None:
        """Write a Hugging Face model folder.

        folder (Path): Created if missing, replaced if it exists.
        settings (TaskSettings): Written next to the weights, with the model's tags.
        weights (bool): Whether to save the weights of a model on the hub; otherwise
            only its tokenizer is saved.
        target (Path | None): Where the folder is moved to when it is complete.
        RAISES (ValueError): If the model folder to copy has code or links that are not
            trusted.
        """
        self._find()
        state = self._state
        if isinstance(state, ByName):
            source = state.location.folder()
            if source is not None and not (weights and self._quantizes(source)):
                copy_model_folder(
                    source,
                    folder,
                    settings,
                    trusted=self.source.trust_remote_code,
                    link=source.resolve() == target,
                )
                return
            if not weights:
                tags = self.settings.tags if self.settings else None
                settings = replace(settings, tags=tags)
                write_tokenizer(folder, tokenizer_of(self.source, state), settings)
                return
        lm = self.lm()
        whole = lm.dtype == torch.float32
        dtype = self.source.placement().dtype if whole else lm.dtype
        write_model_folder(folder, lm, settings, dtype=dtype)

    def _quantizes(self, source: Path) -> bool:
        """Whether the weights of a folder are quantized when they are loaded."""
        return self.source.quantization is not None and not is_stored_quantized(source)

    def open(self, folder: Path, *, weights: bool = True) -> None:
        """Load the model of a folder, which is not needed any more then.

        folder (Path): The folder.
        weights (bool): Whether to load the weights; a decoder that uses a model server
            needs the tokenizer only.
        RAISES (ValueError): If files are missing, the folder is a link to another place
            and the model is not trusted, or the model cannot be loaded.
        """
        if not self.source.trust_remote_code:
            check_place(folder, folder.parent)
        check_model_folder(folder, weights=weights)
        other = ModelHandle(replace(self.source, name=str(folder.resolve())))
        other._hold(weights=weights)
        self.source, self._state = other.source, other._state
        self._client_tokens = None

    def _hold(self, *, weights: bool) -> None:
        """Load what is needed of a model that is found by its name."""
        if weights:
            self.lm()
        elif isinstance(self._state, ByName):
            tokenizer_of(self.source, self._state)

    def to_files(
        self, settings: TaskSettings, *, weights: bool = True
    ) -> dict[str, bytes]:
        """Get the files of the model folder.

        settings, weights: See `save`.
        RETURNS (dict[str, bytes]): File name -> content.
        RAISES (ValueError): If they are too large for a msgpack message.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save(folder, settings, weights=weights)
            return read_model_files(folder)

    def from_files(self, files: Mapping[str, bytes], *, weights: bool = True) -> None:
        """Load the model from the files of a model folder.

        files (Mapping[str, bytes]): File name -> content.
        weights (bool): See `open`.
        RAISES (ValueError): If a name is not that of a file alone, or the model cannot
            be loaded, or it has code that is not trusted.
        """
        self._state = state_of_files(files, self.source, weights=weights)
        self._client_tokens = None

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Keep the model if the code inside the block fails after it loaded another."""
        before = self.source, self._state, self._client_tokens
        try:
            yield
        except BaseException:
            self.source, self._state, self._client_tokens = before
            raise

    # Copies

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelHandle:
        other = ModelHandle.__new__(ModelHandle)
        other.__dict__.update(self.__dict__)
        if isinstance(self._state, InMemory):
            lm = copy.deepcopy(self._state.lm, memo)
            other._state = replace(self._state, lm=lm)
            other._client_tokens = None
        else:
            other._state = replace(self._state)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the model too, if it is in a folder of the user's, which
        may change before the pickle is loaded. A process that is being started loads
        the folder itself, and checks that it is as it was.
        """
        state = self._state
        if isinstance(state, ByName):
            if not isinstance(state.location, UserFiles):
                state = replace(state, lm=None)
            elif is_starting_process() and state.location.is_unchanged():
                state = replace(state, lm=None, tokenizer=None)
            else:
                self._hold(weights=self.needs_weights)
        else:
            state = replace(state, made=False)  # to load is not to make
        return {**self.__dict__, "_state": state, "_client_tokens": None}
