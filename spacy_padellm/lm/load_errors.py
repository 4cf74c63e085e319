"""Errors for models that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from spacy_padellm.compat import is_panic
from spacy_padellm.errors import Errors
from spacy_padellm.lm.bundled import NAMES


@contextmanager
def as_load_errors(source: Path | str) -> Iterator[None]:
    """Replace the many errors of loading by a few messages.

    source (Path | str): The model's folder or hub name.
    RAISES (ValueError): If the code inside the block fails.
    """
    try:
        yield
    except SafetensorError as error:
        raise ValueError(Errors.P115.format(name=source, error=error)) from error
    except BaseException as error:
        # transformers and peft raise any kind of error for a broken file
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        template = Errors.P116 if isinstance(source, Path) else Errors.P245
        reason = str(error).strip().removesuffix(".")
        message = template.format(name=source, error=reason, known=NAMES)
        raise ValueError(message) from error


def check_complete(source: Path | str, missing: Iterable[str]) -> None:
    """Check that no weights are missing.

    source (Path | str): The model's folder or hub name.
    missing (Iterable[str]): Names of the missing weights.
    RAISES (ValueError): If there are any.
    """
    names = sorted(missing)
    if names:
        message = Errors.P117.format(name=source, count=len(names), first=names[0])
        raise ValueError(message)
