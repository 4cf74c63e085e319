"""The licences of a model: files that go with all copies, and with what is trained."""

from __future__ import annotations

from contextlib import suppress
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
    RETURNS (dict[str, bytes]): File name -> content, of those that can be read.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        with suppress(OSError):
            if _is_license_file(path):
                found[path.name] = path.read_bytes()
    return found


def _is_license_file(path: Path) -> bool:
    is_named_so = is_license(path.name) and path.is_file()
    return is_named_so and path.stat().st_size <= _LARGEST
