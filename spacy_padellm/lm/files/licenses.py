"""The licences of a model: files that go with all copies, and with what is trained."""

from __future__ import annotations

from pathlib import Path

from spacy_padellm.lm.trust.code import is_code_name

_NAMES = ("license", "licence", "notice", "copying")
_LARGEST = 1 << 20  # bytes; a larger file is something else


def is_license(name: str) -> bool:
    """Whether a file of a model folder, by its name, is a licence or a notice."""
    return name.casefold().startswith(_NAMES) and not is_code_name(name)


def read_licenses(folder: Path) -> dict[str, bytes]:
    """Read the licences and notices of a model folder.

    folder (Path): The folder.
    RETURNS (dict[str, bytes]): File name -> content.
    """
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if is_license(path.name) and path.is_file() and path.stat().st_size <= _LARGEST
    }
