"""Loading: find a Hugging Face causal LM, and read it and its tokenizer."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import cached_file

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.load_errors import as_load_errors, check_complete
from spacy_padellm.lm.lora import ADAPTER, load_adapter, read_adapter
from spacy_padellm.lm.onednn import prepack
from spacy_padellm.lm.tokenizer import read_tokenizer

BUNDLED = {"bundled-en": Path(__file__).parent.parent / "models" / "en"}

_NEW_NAMES = transformers.__version__.split(".")[0] != "4"

# transformers changes its classes while it loads
_loading = threading.RLock()
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], LanguageModel] = (
    weakref.WeakValueDictionary()
)


def find_model(name: str) -> Path | str:
    """The folder of a bundled or local model, or the hub name as it is.

    RAISES (ValueError): If the name can only be a folder, and there is none.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise ValueError(Errors.P113.format(name=name))
    return name


def lasting_name(name: str) -> str:
    """The name by which a model is found again from another folder."""
    source = find_model(name)
    if isinstance(source, str) or name in BUNDLED:
        return name
    return str(source.resolve())


def check_source(name: str, *, revision: str | None) -> None:
    """Check that there is a model where a name points to.

    RAISES (ValueError): If there is none.
    """
    source = find_model(name)
    if isinstance(source, str):
        try:
            cached_file(source, "config.json", revision=revision)
        except OSError as error:
            message = Errors.P116.format(name=name, error=error)
            raise ValueError(message) from error
    elif (source / "config.cfg").is_file():
        raise ValueError(Errors.P136.format(path=source))
    elif not any((source / file).is_file() for file in ("config.json", ADAPTER)):
        raise ValueError(Errors.P114.format(path=source, file="config.json"))


def load_shared(
    name: str,
    *,
    revision: str | None,
    dtype: torch.dtype,
    device: torch.device,
    trust_remote_code: bool,
) -> LanguageModel:
    """A model that all pipes of the process share: load it once, never change it."""
    source = find_model(name)
    stamp = _stamp(source) if isinstance(source, Path) else None
    key = (str(source), revision, dtype, device, trust_remote_code, stamp)
    with _loading:
        lm = _loaded.get(key)
        if lm is None:
            lm = load(
                name,
                revision=revision,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
            )
            prepack(lm.model)
            _loaded[key] = lm
    return lm


def load(
    name: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a model of one's own.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    dtype (torch.dtype): Of the weights.
    device (torch.device | None): Where to place them; None is the CPU.
    trust_remote_code (bool): Whether code in the model's repository may run.
    RETURNS (LanguageModel): In evaluation mode.
    RAISES (ValueError): If the model is missing, of an unknown architecture, corrupt
        or incomplete.
    """
    source = find_model(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options["revision"] = revision
    elif (source / ADAPTER).is_file():
        adapter = read_adapter(source)
        base = load(
            adapter.config.base_model_name_or_path,
            revision=adapter.config.revision,
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
        )
        return load_adapter(adapter, base, dtype)
    elif not (source / "config.json").is_file():
        raise ValueError(Errors.P114.format(path=source, file="config.json"))
    with _loading, as_load_errors(source):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = read_tokenizer(source, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            **{"dtype" if _NEW_NAMES else "torch_dtype": dtype},
            **options,
        )
    check_complete(source, report["missing_keys"])
    return LanguageModel(model.to(device or "cpu").eval(), tokenizer)


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Load a model's tokenizer without its weights.

    name (str): A bundled model's name, a folder, or a hub name.
    revision (str | None): Branch, tag or commit of a hub model.
    trust_remote_code (bool): Whether code in the model's repository may run.
    RETURNS (transformers.PreTrainedTokenizerBase): The tokenizer.
    RAISES (ValueError): If there is none, or it cannot be read.
    """
    source = find_model(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if isinstance(source, str):
        options["revision"] = revision
    with _loading, as_load_errors(source):
        return read_tokenizer(source, **options)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Tells one state of a model folder from another."""
    files = sorted(os.scandir(folder), key=lambda entry: entry.name)
    stats = [(entry.name, entry.stat()) for entry in files]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
