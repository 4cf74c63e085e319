"""The handle of a component's model: load it at first use, train it, save it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices import (
    choose_device,
    choose_dtype,
    enter_process,
    fast_bf16,
)
from spacy_padellm.lm.folder import (
    check_folder,
    copy_folder,
    write_folder,
    write_tokenizer,
)
from spacy_padellm.lm.hub import fetch_optional_file
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import (
    absolute_name,
    check_source,
    find_model,
    load,
    load_shared,
    load_tokenizer,
)
from spacy_padellm.lm.lora import base_names, with_lora
from spacy_padellm.lm.model_source import ModelSource
from spacy_padellm.lm.task_config import (
    FILE_NAME,
    TaskSettings,
    read_settings,
)
from spacy_padellm.lm.trust import check_place, is_model_file
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.tokens import PromptTokens

MESSAGE_LIMIT = 1 << 32  # bytes that a msgpack value can hold


@dataclass(slots=True)
class ByName:
    """A model found by its name, loaded at first use and shared.

    lm (LanguageModel | None): The model, once it is loaded.
    tokenizer (Any): The tokenizer, if it came from bytes without weights.
    settings (TaskSettings | None): The settings from the same bytes.
    """

    lm: LanguageModel | None = None
    tokenizer: Any = None
    settings: TaskSettings | None = None


@dataclass(slots=True)
class InMemory:
    """A model that is not shared: from bytes, made from scratch, or trained.

    lm (LanguageModel): The model.
    settings (TaskSettings | None): The settings of a model from bytes.
    trains (bool): Whether the model was prepared for training.
    """

    lm: LanguageModel
    settings: TaskSettings | None = None
    trains: bool = False


class ModelHandle:
    """Holds a model that is loaded at first use.

    Until the model is trained, its weights are shared by all pipes of the process that
    name the same model, and pickles and copies of the handle hold no weights.
    """

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self._state: ByName | InMemory = ByName()
        self._hub_settings: TaskSettings | None = None  # set by `hub_settings`
        self._client_tokens: PromptTokens | None = None

    @property
    def empty(self) -> bool:
        """Whether there is neither a model nor a name to load one by."""
        return isinstance(self._state, ByName) and self.source.name is None

    @property
    def _is_complete(self) -> bool:
        """Whether the model is usable without its folder and the hub."""
        state = self._state
        return isinstance(state, InMemory) or state.tokenizer is not None

    @property
    def trained(self) -> bool:
        """Whether the weights were prepared for training."""
        return isinstance(self._state, InMemory) and self._state.trains

    @property
    def settings(self) -> TaskSettings | None:
        """The model's settings, as far as they are known without asking the hub."""
        if self._state.settings is not None or self.source.name is None:
            return self._state.settings
        try:
            folder = find_model(self.source.name)
        except ValueError:
            # reported at first use, as a saved pipe may still bring its folder
            return None
        return read_settings(folder) if isinstance(folder, Path) else self._hub_settings

    @property
    def origin(self) -> str:
        """The model's name in messages."""
        return self.source.name or "a model from scratch"

    def hub_settings(self) -> TaskSettings | None:
        """Get the model's settings, from the hub if they are there.

        RAISES (ValueError): If the hub has no such model, or cannot be reached.
        """
        name = self.source.name
        if self._is_complete or name is None or isinstance(find_model(name), Path):
            return self.settings
        path = fetch_optional_file(name, FILE_NAME, revision=self.source.revision)
        self._hub_settings = read_settings(path.parent) if path else None
        return self._hub_settings

    def check(self) -> None:
        """Check that there is a model.

        RAISES (ValueError): If there is none.
        """
        if self.empty:
            raise ValueError(Errors.P130)
        if not self._is_complete and self.source.name is not None:
            check_source(self.source.name, revision=self.source.revision)

    # Using

    def lm(self) -> LanguageModel:
        """Get the model for predictions.

        RAISES (ValueError): If it cannot be loaded.
        """
        if isinstance(self._state, InMemory):
            enter_process(self._state.lm.device)
            return self._state.lm
        if self.source.name is None:
            raise ValueError(Errors.P130)
        device = choose_device(self.source.device)
        enter_process(device)
        if self._state.lm is None:
            self._state.lm = load_shared(
                self.source.name,
                revision=self.source.revision,
                dtype=choose_dtype(self.source.dtype, device),
                device=device,
                trust_remote_code=self.source.trust_remote_code,
            )
        return self._state.lm

    def client_tokens(self, prompt: Prompt) -> PromptTokens:
        """Get the token ids of a prompt without loading the model's weights.

        prompt (Prompt): The prompt.
        RAISES (ValueError): If the tokenizer cannot be loaded.
        """
        if isinstance(self._state, InMemory):
            return self._state.lm.tokens_of(prompt)
        if self._client_tokens is None or self._client_tokens.prompt != prompt:
            self._client_tokens = PromptTokens(prompt, self._load_tokenizer())
        return self._client_tokens

    def _load_tokenizer(self) -> Any:
        if isinstance(self._state, ByName) and self._state.tokenizer is not None:
            return self._state.tokenizer
        if self.source.name is None:
            raise ValueError(Errors.P130)
        return load_tokenizer(
            self.source.name,
            revision=self.source.revision,
            trust_remote_code=self.source.trust_remote_code,
        )

    def use(self, lm: LanguageModel) -> None:
        """Use a given model."""
        self._state = InMemory(lm)
        self._client_tokens = None

    def use_new(self, make: Callable[[], LanguageModel]) -> None:
        """Use a model made from scratch, on the device of the config."""
        lm = make()
        self._place(lm)
        self.use(lm)

    def trainable(self, special_tokens: Sequence[str]) -> LanguageModel:
        """Get the model for training, with weights that are not shared.

        special_tokens (Sequence[str]): The prompt's special tokens; missing ones are
            added to the tokenizer.
        RAISES (ValueError): If the model cannot be loaded.
        """
        if isinstance(self._state, InMemory) and self._state.trains:
            return self._state.lm
        lm = self._state.lm if isinstance(self._state, InMemory) else self._load_own()
        new_tokens = lm.add_special_tokens(special_tokens)
        if hasattr(lm.model, "peft_config"):
            # a loaded adapter is frozen
            lm.model.set_adapter(lm.model.active_adapter)
        elif self.source.lora is not None:
            lm = with_lora(
                lm,
                self.source.lora,
                name=self.source.name and absolute_name(self.source.name),
                revision=self.source.revision,
                new_tokens=new_tokens,
            )
        self._place(lm)
        self._state = InMemory(lm, self._state.settings, trains=True)
        return lm

    def _load_own(self) -> LanguageModel:
        if self.source.name is None:
            raise ValueError(Errors.P130)
        return load(
            self.source.name,
            revision=self.source.revision,
            trust_remote_code=self.source.trust_remote_code,
        )

    def _place(self, lm: LanguageModel) -> None:
        """Move a model to its device, in the dtype that training computes in."""
        device = choose_device(self.source.device)
        # float16 gradients would underflow
        fast = self._dtype() == torch.bfloat16 and fast_bf16(device)
        dtype = torch.bfloat16 if fast else torch.float32
        lm.model.to(device=device, dtype=dtype)

    def _dtype(self) -> torch.dtype:
        return choose_dtype(self.source.dtype, choose_device(self.source.device))

    # Saving

    def check_place(self, folder: Path) -> None:
        """Check that saving leaves alone the model folders that this model needs.

        folder (Path): The component's folder, without links; the model goes to its
            folder `model`.
        RAISES (ValueError): If another of them is in the folder, or if the folder is in
            the model folder that would be copied to it.
        """
        place = folder / "model"
        source = _local_folder(self.source.name)
        lm = self._state.lm
        adapters = getattr(lm.model, "peft_config", {}).values() if lm else ()
        names = [config.base_model_name_or_path for config in adapters]
        names += base_names(source) if source else []
        bases = [base for base in map(_local_folder, names) if base]
        if place in bases:
            raise ValueError(Errors.P133.format(path=place))
        for needed in filter(None, [source, *bases]):
            if folder in needed.parents and needed != place:
                raise ValueError(Errors.P240.format(path=folder, source=needed))
        if source and isinstance(self._state, ByName) and source in place.parents:
            raise ValueError(Errors.P241.format(path=folder, source=source))

    def save(
        self,
        folder: Path,
        settings: TaskSettings,
        *,
        weights: bool = True,
        place: Path | None = None,
    ) -> None:
        """Write a Hugging Face model folder.

        folder (Path): Created if missing, replaced if it exists.
        settings (TaskSettings): Written next to the weights, with the model's tags.
        weights (bool): Whether to save the weights of a model on the hub; otherwise
            only its tokenizer is saved.
        place (Path | None): Where the folder is moved to when it is complete.
        RAISES (ValueError): If the model folder to copy has code or links that are not
            trusted.
        """
        state = self._state
        if isinstance(state, ByName) and state.tokenizer is not None and not weights:
            self._save_tokenizer(folder, settings)
            return
        if isinstance(state, ByName) and self.source.name is not None:
            source = find_model(self.source.name)
            if isinstance(source, Path) and source.is_dir():
                copy_folder(
                    source,
                    folder,
                    settings,
                    trusted=self.source.trust_remote_code,
                    link=source.resolve() == place,
                )
                return
            if not weights:
                self._save_tokenizer(folder, settings)
                return
        lm = self.lm()
        dtype = self._dtype() if lm.dtype == torch.float32 else lm.dtype
        write_folder(folder, lm, settings, dtype=dtype)

    def _save_tokenizer(self, folder: Path, settings: TaskSettings) -> None:
        tags = self.settings.tags if self.settings else None
        settings = replace(settings, tags=tags)
        write_tokenizer(folder, self._load_tokenizer(), settings)

    def open(self, folder: Path, *, weights: bool = True) -> None:
        """Use the model of a folder; it is loaded at first use.

        folder (Path): The folder.
        weights (bool): Whether the folder must hold weights; a decoder that uses a
            model server needs the tokenizer only.
        RAISES (ValueError): If files are missing, or the folder is a link to another
            place and the model is not trusted.
        """
        if not self.source.trust_remote_code:
            check_place(folder, folder.parent)
        check_folder(folder, weights=weights)
        self.source = replace(self.source, name=str(folder.resolve()))
        self._state = ByName()
        self._client_tokens = None

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
            paths = [p for p in folder.iterdir() if p.is_file()]
            paths = [path for path in paths if is_model_file(path.name)]
            size = sum(path.stat().st_size for path in paths)
            if size >= MESSAGE_LIMIT:
                raise ValueError(Errors.P131.format(size=size / (1 << 30)))
            return {path.name: path.read_bytes() for path in paths}

    def from_files(self, files: Mapping[str, bytes], *, weights: bool = True) -> None:
        """Load the model from the files of a model folder.

        files (Mapping[str, bytes]): File name -> content.
        weights (bool): See `open`.
        RAISES (ValueError): If a name is not that of a file alone, or the model cannot
            be loaded, or it has code that is not trusted.
        """
        contents = files.values() if isinstance(files, Mapping) else [files]
        for content in contents:
            if not isinstance(content, bytes):
                found = type(content).__name__
                raise ValueError(Errors.P503.format(found=f"a value of type {found}"))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for name, content in files.items():
                if is_model_file(name):
                    (folder / name).write_bytes(content)
            code = self.source.trust_remote_code
            settings = read_settings(folder)
            if weights:
                lm = load(
                    str(folder),
                    dtype=self._dtype(),
                    device=choose_device(self.source.device),
                    trust_remote_code=code,
                )
                self._state = InMemory(lm, settings)
            else:
                tokenizer = load_tokenizer(str(folder), trust_remote_code=code)
                self._state = ByName(tokenizer=tokenizer, settings=settings)
        self._client_tokens = None

    # Copies

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelHandle:
        other = ModelHandle(self.source)
        other._hub_settings = self._hub_settings
        if isinstance(self._state, InMemory):
            lm = copy.deepcopy(self._state.lm, memo)
            other._state = replace(self._state, lm=lm)
        else:
            other._state = replace(self._state)
            other._client_tokens = self._client_tokens
        return other

    def __getstate__(self) -> dict[str, Any]:
        state = self._state
        if isinstance(state, ByName):
            state = replace(state, lm=None)
        return {**self.__dict__, "_state": state, "_client_tokens": None}


def _local_folder(name: str | None) -> Path | None:
    """The folder of a model, without links; None if it is elsewhere or missing."""
    try:
        found = find_model(name) if name else None
    except ValueError:
        return None
    return found.resolve() if isinstance(found, Path) else None
