"""The files of a model folder as bytes, as a serialized pipeline holds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spacy_padellm.errors import Errors
from spacy_padellm.lm.files.licenses import is_license
from spacy_padellm.lm.trust.code import has_model_suffix, is_file_name

_SHOWN = 200  # characters of a name in a message
MESSAGE_LIMIT = 1 << 32  # bytes that a msgpack value can hold


def read_model_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a model folder.

    folder (Path): The folder.
    RETURNS (dict[str, bytes]): File name -> content.
    RAISES (ValueError): If they are too large for a msgpack message, or one has a name
        that other systems do not take.
    """
    paths = [p for p in folder.iterdir() if p.is_file() and _belongs(p.name)]
    for path in paths:
        if not is_file_name(path.name):
            raise ValueError(Errors.P931.format(name=path.name))
    size = sum(path.stat().st_size for path in paths)
    if size >= MESSAGE_LIMIT:
        raise ValueError(Errors.P131.format(size=size / (1 << 30)))
    return {path.name: path.read_bytes() for path in paths}


def write_model_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a model folder.

    folder (Path): The folder, which exists.
    files (Mapping[str, bytes]): File name -> content.
    RAISES (ValueError): If a name is not that of a file alone, or a content is no
        bytes.
    """
    if not isinstance(files, Mapping):
        raise ValueError(Errors.P503.format(found=_type_of(files)))
    for content in files.values():
        if not isinstance(content, bytes):
            raise ValueError(Errors.P503.format(found=_type_of(content)))
    for name in files:
        if not is_file_name(name):
            raise ValueError(Errors.P503.format(found=repr(name)[:_SHOWN]))
    for name, content in files.items():
        if _belongs(name):
            (folder / name).write_bytes(content)


def _belongs(name: str) -> bool:
    return has_model_suffix(name) or is_license(name)


def _type_of(value: object) -> str:
    return f"a value of type {type(value).__name__}"
