"""Where a model may be saved: not over the model folders that it needs."""

from __future__ import annotations

from pathlib import Path

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.lora import base_names
from spacy_padellm.lm.model_names import find_model


def check_save_place(
    folder: Path, name: str | None, lm: LanguageModel | None, *, copied: bool
) -> None:
    """Check that saving leaves alone the model folders that a model needs.

    folder (Path): The component's folder, without links; the model goes to its folder
        `model`.
    name (str | None): The model's name.
    lm (LanguageModel | None): The model, if it is loaded.
    copied (bool): Whether the folder of that name would be copied.
    RAISES (ValueError): If another of them is in the folder, or if the folder is in the
        model folder that would be copied to it.
    """
    model_folder = folder / "model"
    source = _local_folder(name)
    adapters = getattr(lm.model, "peft_config", {}).values() if lm else ()
    names = [config.base_model_name_or_path for config in adapters]
    names += base_names(source) if source else []
    bases = [base for base in map(_local_folder, names) if base]
    if model_folder in bases:
        raise ValueError(Errors.P133.format(path=model_folder))
    for needed in filter(None, [source, *bases]):
        if folder in needed.parents and needed != model_folder:
            raise ValueError(Errors.P240.format(path=folder, source=needed))
    if source and copied and source in model_folder.parents:
        raise ValueError(Errors.P241.format(path=folder, source=source))


def _local_folder(name: str | None) -> Path | None:
    """The folder of a model, without links; None if it is elsewhere or missing."""
    try:
        found = find_model(name) if name else None
    except ValueError:
        return None
    return found.resolve() if isinstance(found, Path) else None
