"""Files of models on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from spacy_padellm.lm.load_errors import as_load_errors


def fetch_file(name: str, file: str, *, revision: str | None) -> Path:
    """Get a file of a model on the hub, from the cache or by downloading it.

    name (str): The model's hub name.
    file (str): The file's name.
    revision (str | None): Branch, tag or commit; None is the main branch.
    RETURNS (Path): The file in the cache.
    RAISES (ValueError): If the hub has no such model or file, or cannot be reached.
    """
    with as_load_errors(name):
        return _fetch(name, file, revision)


def fetch_optional_file(name: str, file: str, *, revision: str | None) -> Path | None:
    """Get a file that a model on the hub may lack.

    name, file, revision: See `fetch_file`.
    RETURNS (Path | None): The file in the cache, or None if the model has no such file.
    RAISES (ValueError): If the hub has no such model, or cannot be reached.
    """
    with as_load_errors(name):
        try:
            return _fetch(name, file, revision)
        except LocalEntryNotFoundError:
            # without a connection, the cache shows which files the model has
            _fetch(name, "config.json", revision)
            return None
        except EntryNotFoundError:
            return None


def _fetch(name: str, file: str, revision: str | None) -> Path:
    offline = constants.HF_HUB_OFFLINE
    path = hf_hub_download(name, file, revision=revision, local_files_only=offline)
    return Path(path)
