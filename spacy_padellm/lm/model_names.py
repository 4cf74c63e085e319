"""Find a model by its name: bundled, in a folder or a file, or on the hub."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from spacy_padellm.checks import check_path
from spacy_padellm.errors import Errors
from spacy_padellm.factory_name import FACTORY
from spacy_padellm.lm.files.bundled import BUNDLED, NAMES, is_like_bundled
from spacy_padellm.lm.files.gguf import is_gguf
from spacy_padellm.lm.files.hub import fetch_file
from spacy_padellm.lm.lora import ADAPTER

_SETTINGS = ("config.json", ADAPTER)
_SHOWN = 200  # characters of a name in a message


def find_model(name: str) -> Path | str:
    """Get the path of a bundled or local model, or else the hub name unchanged.

    name (str): The name.
    RETURNS (Path | str): A folder, a GGUF file, or the name.
    RAISES (ValueError): If the name can only be a folder or a file, and that is
        missing, or it is a file of another kind, or nearly the name of a bundled model,
        or too long for a path, or in a folder that this user may not look into.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    if not name.strip():
        raise ValueError(Errors.P243.format(name=name, known=NAMES))
    path = expanded(name)
    try:
        check_path(path)
        if path.is_dir() or (is_gguf(name) and path.is_file()):
            return path
        is_file = path.is_file()
    except OSError as error:
        message = Errors.P985.format(name=name[:_SHOWN], error=error.strerror)
        raise ValueError(message) from error
    if is_file or is_gguf(name):
        template = Errors.P998 if is_file else Errors.P997
        raise ValueError(template.format(name=name))
    if path.is_absolute() or name.startswith((".", "~")) or len(path.parts) > 2:
        raise ValueError(Errors.P113.format(name=name))
    if is_like_bundled(name):
        raise ValueError(Errors.P243.format(name=name, known=NAMES))
    return name


def expanded(name: str) -> Path:
    """The path that a name stands for, with the home folder in place of `~`.

    RAISES (ValueError): If it is the home folder of a user who is not known.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ValueError(Errors.P113.format(name=name)) from error


def is_here(name: str) -> bool:
    """Whether a model is on this machine, and not on the hub."""
    try:
        return isinstance(find_model(name), Path)
    except ValueError:
        return False


def check_name(name: str) -> None:
    """Check that a model's name can be right, without asking the hub.

    RAISES (ValueError): If there is no such folder, or it does not hold a model or a
        tokenizer.
    """
    source = find_model(name)
    if not isinstance(source, Path) or source.is_file():
        return
    check_no_pipeline(source)
    files = (*_SETTINGS, "tokenizer*", "*.model")
    if not any(next(source.glob(file), None) for file in files):
        _check_no_gguf(source)
        raise ValueError(Errors.P114.format(path=source, file="config.json"))


def absolute_name(name: str) -> str:
    """Get a name that finds the same model from another working directory."""
    source = find_model(name)
    if isinstance(source, str) or name in BUNDLED:
        return name
    return str(source.resolve())


def check_source(name: str, *, revision: str | None) -> None:
    """Check that a model of this name exists.

    name (str): The name.
    revision (str | None): Branch, tag or commit of a hub model.
    RAISES (ValueError): If it does not.
    """
    source = find_model(name)
    if isinstance(source, str):
        fetch_file(source, "config.json", revision=revision)
    check_files(source)


def check_files(source: Path | str) -> None:
    """Check that a folder has the settings of a model; other sources are not checked.

    source (Path | str): What `find_model` returned.
    RAISES (ValueError): If it has none. The message tells what else the folder holds.
    """
    if isinstance(source, str) or is_gguf(source):
        return
    check_no_pipeline(source)
    if not any((source / file).is_file() for file in _SETTINGS):
        _check_no_gguf(source)
        raise ValueError(Errors.P114.format(path=source, file="config.json"))


def _check_no_gguf(folder: Path) -> None:
    files: list[Path] = []
    with suppress(OSError):  # a folder that this user may not list
        files = sorted(path for path in folder.iterdir() if is_gguf(path))
    if files:
        raise ValueError(Errors.P999.format(path=folder, file=files[0]))


def check_no_pipeline(folder: Path) -> None:
    """Check that a folder does not hold a spaCy pipeline in place of a model.

    folder (Path): The folder.
    RAISES (ValueError): If it does. The message has the folder of the model inside.
    """
    # a pipeline that could not be saved in a model folder leaves its config there
    is_model = any((folder / file).is_file() for file in _SETTINGS)
    if (folder / "config.cfg").is_file() and not is_model:
        default = folder / FACTORY / "model"
        model = next(folder.glob("*/model/config.json"), default / "config.json").parent
        raise ValueError(Errors.P136.format(path=folder, model=model))
