"""Code that a model folder holds or names: none of it runs unless it is trusted.

The same holds for files elsewhere that it names: none of them is read. Patterns that
may take very long are refused, too, and numbers that no model has.

transformers asks for trust only where code is on the hub, and peft passes none on, so
folders are checked before either of them reads a file.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.trust.announced import check_announced
from spacy_padellm.lm.trust.growth import check_growth
from spacy_padellm.lm.trust.links import check_links
from spacy_padellm.lm.trust.patterns import slow_pattern

TRUST = "PADELLM_TRUST_REMOTE_CODE"
_TOKENIZERS = (
    "Tokenizer",
    "TokenizerFast",
    "TokenizersBackend",
    "PythonBackend",
    "SentencePieceBackend",
    "MistralCommonBackend",
)
_TOKENIZER = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
# settings that name the files of each version of transformers
_VERSIONS = ("configuration_files", "fast_tokenizer_files")
_VOCABULARIES = (_TOKENIZER, "vocab.json")  # large, and never read as settings
# names of settings that hold the path of a file
_FILE_ENDINGS = ("_file", "_spm", "_path", "vocab", "merges")
_NO_FILE = "name_or_path"  # where the model once was
_ADAPTER = "adapter_config.json"
# of files that belong to a model; others are not saved in bytes
_SUFFIXES = {
    *(".json", ".safetensors", ".bin", ".model", ".tiktoken", ".txt", ".jinja"),
    *(".md", ".py"),
}

# of files that Python imports on any system, compiled ones too
_CODE = {".py", ".pyw", ".pyc", ".pyo", ".pyd", ".so"}

_SHOWN = 200  # characters of a value in a message
_LONGEST_NAME = 200  # bytes
_SEPARATORS = set("/\\:\0")

# setting -> whether a value names no code, and no file elsewhere
_Rules = Mapping[str, Callable[[Any], bool]]


def check_request(trust_remote_code: bool) -> None:
    """Check that the user trusts the model's code, not only the config.

    A factory cannot tell a config that was saved with a pipeline from one that the user
    gave, so the consent must come from the environment.

    trust_remote_code (bool): What the config says.
    RAISES (ValueError): If it is true, and the environment does not agree.
    """
    if trust_remote_code and os.environ.get(TRUST) != "1":
        raise ValueError(Errors.P501.format(variable=TRUST))


def check_code(folder: Path, *, trusted: bool) -> None:
    """Check that a model folder holds and names no code, and names no files elsewhere.

    folder (Path): The model folder, or the folder of a LoRA adapter.
    trusted (bool): Whether its code may run; nothing is checked then.
    RAISES (ValueError): If there is any, and it is not trusted, or a link leads out of
        the folder.
    """
    if trusted:
        return
    check_links(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        found = _found_as(path.name)
        if is_code_name(path.name) or found == "custom_generate":
            raise ValueError(Errors.P502.format(path=folder, file=name, found="code"))
        if path.is_file():
            check_settings_file(path, folder=folder)


def is_code_name(name: str) -> bool:
    """Whether a file, by its name, may be code that Python imports."""
    return Path(_found_as(name)).suffix in _CODE


def _found_as(name: str) -> str:
    """A name by which a file may be found where names differ by less than their case.

    Some systems ignore joiners, and take the long s for an s.
    """
    return "".join(
        char for char in name.casefold() if unicodedata.category(char) != "Cf"
    )


def check_settings_file(path: Path, *, folder: Path, on_hub: bool = False) -> None:
    """Check that a file of settings names no code and no files elsewhere.

    Nor may it hold a pattern that may take very long, or numbers that no model has.

    path (Path): The file; files other than settings in JSON are passed over.
    folder (Path): The model folder, for the error message.
    on_hub (bool): Whether the file is a model's on the hub. transformers does not read
        `auto_map` there if it is not trusted, but it fetches files that were not
        checked if `configuration_files` or `fast_tokenizer_files` names any.
    RAISES (ValueError): If it does.
    """
    name = _found_as(path.name)
    is_vocabulary = name in _VOCABULARIES
    if not name.endswith(".json") or (is_vocabulary and name != _TOKENIZER):
        return
    found: str | None
    try:
        settings = json.loads(path.read_text("utf8"))
    except UnicodeDecodeError:
        # peft reads them in the system's encoding
        found = "settings that are not UTF-8"
    except (OSError, ValueError):
        return  # transformers and peft cannot read it either
    except RecursionError:
        found = "settings too deep to be checked"
    else:
        _check_amounts(settings, source=path)
        if is_vocabulary:
            return
        found = next(named_code(settings, on_hub=on_hub), None)
        if found is None and name == _ADAPTER:
            found = adapter_code(settings)
        check_patterns(settings, source=path)
    if found is not None:
        file = path.relative_to(folder)
        raise ValueError(Errors.P502.format(path=folder, file=file, found=found))


def _check_amounts(settings: Any, *, source: Path) -> None:
    """Check that nothing is made in amounts that no model has.

    settings (Any): The content of a file of settings, or of `tokenizer.json`.
    source (Path): The file.
    RAISES (ValueError): If there is.
    """
    name = _found_as(source.name)
    if name.startswith("tokenizer."):
        check_growth(settings, source=source)
    elif name in (_ADAPTER, _TOKENIZER_CONFIG) or name.startswith("config."):
        check_announced(settings, source=source)


def check_patterns(settings: Any, *, source: Path | str) -> None:
    """Check that settings hold no pattern that may take very long.

    settings (Any): Settings as in JSON.
    source (Path | str): Their file or name, for the error message.
    RAISES (ValueError): If they do.
    """
    for key, value in _items(settings):
        pattern = slow_pattern(key, value)
        if pattern is not None:
            found = f"{key}: {repr(pattern)[:_SHOWN]}"
            raise ValueError(Errors.P740.format(source=source, found=found))


def adapter_code(settings: Any) -> str | None:
    """Find the setting of a peft adapter that names code.

    settings (Any): The content of `adapter_config.json`.
    RETURNS (str | None): The key and its value; None if there is none.
    """
    if not isinstance(settings, dict):
        return None
    # other types load tokenizers and models of their own, without asking for trust
    rules: _Rules = {
        "peft_type": lambda kind: kind == "LORA",
        "megatron_config": lambda config: not config,
        "auto_mapping": lambda mapping: not mapping or _is_transformers(mapping),
    }
    for key, is_harmless in rules.items():
        if not is_harmless(settings.get(key)):
            return f"{key} = {repr(settings.get(key))[:_SHOWN]}"
    return None


def _is_transformers(mapping: Any) -> bool:
    """Whether an adapter's `auto_mapping` names a class of transformers."""
    library = mapping.get("parent_library") if isinstance(mapping, dict) else None
    return isinstance(library, str) and library.startswith("transformers.")


def named_code(settings: Any, *, on_hub: bool = False) -> Iterator[str]:
    """Find settings, at any depth, that name code or files elsewhere.

    settings (Any): Settings as in JSON.
    on_hub (bool): See `check_settings_file`.
    YIELDS (str): The key and its value.
    """
    for key, content in _items(settings):
        if key == "auto_map" and on_hub:
            continue
        fetches = on_hub and key in _VERSIONS and not _is_empty(content)
        if fetches or not _rule(key)(content):
            yield f"{key} = {repr(content)[:_SHOWN]}"


def _items(settings: Any) -> Iterator[tuple[str, Any]]:
    """The settings at any depth: their keys and values."""
    waiting = [settings]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _rule(key: str) -> Callable[[Any], bool]:
    """Find the function that says whether the value of a setting is harmless."""
    if key in _HARMLESS:
        return _HARMLESS[key]
    names_file = key.endswith(_FILE_ENDINGS) and not key.endswith(_NO_FILE)
    return _is_no_file if names_file else _is_any


def _is_any(value: Any) -> bool:
    return True


def _is_empty(value: Any) -> bool:
    """Whether a value names nothing; a number is that of a token of this name."""
    return not (isinstance(value, str | list | dict) and value)


def _has_no_path(value: Any) -> bool:
    """Whether a name, or each name in lists and mappings at any depth, is no path."""
    waiting = [value]
    while waiting:
        name = waiting.pop()
        if isinstance(name, dict):
            waiting += name.values()
        elif isinstance(name, list):
            waiting += name
        elif isinstance(name, str) and ("/" in name or "\\" in name):
            return False
    return True


def _is_no_file(value: Any) -> bool:
    """Whether a name is not that of a file on this machine; old ones often are not."""
    return not (isinstance(value, str) and os.path.exists(value))


def _is_tokenizer(name: Any) -> bool:
    """Whether a class of transformers is a tokenizer; it would load any other, too."""
    return not isinstance(name, str) or name.endswith(_TOKENIZERS)


_HARMLESS: _Rules = {
    "auto_map": _is_empty,
    "custom_pipelines": _is_empty,
    "tokenizer_class": _is_tokenizer,
    # files outside of the folder
    "configuration_files": _has_no_path,
    "weight_map": _has_no_path,
    "fast_tokenizer_files": _has_no_path,
    # transformers 4 reads the paths in them, and tokenizers save copies
    "init_inputs": _is_empty,
    "gguf_file": _is_empty,
    "mecab_option": _is_empty,
    "sudachi_resource_dir": _is_no_file,
    # 'owner/name' is a kernel on the hub, which is downloaded and imported
    "attn_implementation": _has_no_path,
    "_attn_implementation": _has_no_path,
    "_attn_implementation_internal": _has_no_path,
    "experts_implementation": _has_no_path,
    "_experts_implementation": _has_no_path,
    "_experts_implementation_internal": _has_no_path,
}


def is_file_name(name: Any) -> bool:
    """Whether a value is the name of a file on any system, without a folder."""
    size = len(name.encode("utf8", "replace")) if isinstance(name, str) else 0
    is_name = 0 < size <= _LONGEST_NAME
    return is_name and name not in (".", "..") and not set(name) & _SEPARATORS


def has_model_suffix(name: str) -> bool:
    """Whether a file of a model folder, by its name, belongs to the model."""
    return Path(name).suffix in _SUFFIXES
