"""The errors of models that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from spacy_padellm.errors import Errors


@contextmanager
def as_load_errors(source: Path | str) -> Iterator[None]:
    """Turn the many ways in which loading fails into two messages.

    source (Path | str): The model's folder or hub name.
    RAISES (ValueError): If what stands inside fails.
    """
    try:
        yield
    except SafetensorError as error:
        raise ValueError(Errors.P115.format(name=source, error=error)) from error
    except Exception as error:
        # transformers and peft raise whatever a broken file leads to
        raise ValueError(Errors.P116.format(name=source, error=error)) from error


def check_complete(source: Path | str, missing: Iterable[str]) -> None:
    """Check that all weights were found.

    source (Path | str): The model's folder or hub name.
    missing (Iterable[str]): Names of those that were not.
    RAISES (ValueError): If there are any.
    """
    names = sorted(missing)
    if names:
        message = Errors.P117.format(name=source, count=len(names), first=names[0])
        raise ValueError(message)
