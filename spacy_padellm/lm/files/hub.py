"""Files of models on the Hugging Face hub."""

from __future__ import annotations

import time
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.bundled import NAMES
from spacy_padellm.lm.files.load_errors import as_load_errors
from spacy_padellm.proxies import proxy_note


def fetch_file(name: str, file: str, *, revision: str | None) -> Path:
    """Get a file of a model on the hub, from the cache or by downloading it.

    name (str): The model's hub name.
    file (str): The file's name.
    revision (str | None): Branch, tag or commit; None is the main branch.
    RETURNS (Path): The file in the cache.
    RAISES (ValueError): If the hub has no such model or file, or cannot be reached.
    """
    try:
        with as_load_errors(name):
            return _fetch(name, file, revision)
    except ValueError as error:
        reason = why_offline()
        if reason is None or not isinstance(error.__cause__, LocalEntryNotFoundError):
            raise
        cache = constants.HF_HUB_CACHE
        message = Errors.P244.format(name=name, known=NAMES, cache=cache, error=reason)
        message += proxy_note(constants.ENDPOINT)
        raise ValueError(message) from error


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
            pass
        except EntryNotFoundError:
            return None
    # without a connection, the cache shows which files the model has
    fetch_file(name, "config.json", revision=revision)
    return None


def _fetch(name: str, file: str, revision: str | None) -> Path:
    offline = why_offline() is not None
    path = hf_hub_download(name, file, revision=revision, local_files_only=offline)
    return Path(path)


_AGAIN = 60.0  # seconds until a hub that did not answer is asked again
_answers: dict[str, tuple[float, str | None]] = {}


def why_offline() -> str | None:
    """Ask once whether the hub answers, where each file would be asked for six times.

    RETURNS (str | None): Why the hub is not used; None if it answers. A hub that did
        not answer is asked again after a minute.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set in the environment"
    hub = constants.ENDPOINT
    checked_at, reason = _answers.get(hub, (-_AGAIN, ""))
    if reason is not None and time.monotonic() - checked_at >= _AGAIN:
        reason = None
        try:
            get_session().head(hub, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except Exception as error:  # huggingface_hub's client may be another one
            reason = f"{hub} does not answer ({_innermost(error)})"
        _answers[hub] = time.monotonic(), reason
    return reason


def _innermost(error: BaseException) -> BaseException:
    """The error that others were raised from, which say the same in more words."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
