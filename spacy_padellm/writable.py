"""Check that an output file can be written before long work starts."""

from __future__ import annotations

import os
from pathlib import Path

from spacy_padellm.errors import Errors


def make_writable(path: Path) -> None:
    """Check that a file can be written; creates its folder.

    RAISES (ValueError): If it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(Errors.P197.format(path=path, error=error)) from error
    if path.is_dir():
        raise ValueError(Errors.P197.format(path=path, error="it is a folder"))
    if not os.access(path.parent, os.W_OK):
        problem = "its folder is read-only"
        raise ValueError(Errors.P197.format(path=path, error=problem))
