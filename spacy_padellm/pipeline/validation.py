"""Settings of the component that are one of a few words, or numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from spacy_padellm.checks import is_number
from spacy_padellm.errors import Errors
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.text.spans import AlignmentMode, Existing

# what a config file takes as a key, and gives back as it is
_KEY = re.compile(r"(?![#;\[\s])[^:=\n\r]+(?<!\s)")


def check_choices(
    name: str, *, threshold: Any, dedup: str, alignment_mode: str, existing: str
) -> None:
    """Check settings of a component.

    name (str): The component's name, for the error message.
    threshold (Any): The setting, to be None, a number in 0..1, or label -> number.
    dedup, alignment_mode, existing (str): The settings.
    RAISES (ValueError): If one is not among its choices.
    """
    if threshold is not None and not _is_threshold(threshold):
        raise ValueError(Errors.P149.format(name=name, value=threshold))
    for setting, value, known in (
        ("dedup", dedup, Dedup),
        ("alignment_mode", alignment_mode, AlignmentMode),
        ("existing", existing, Existing),
    ):
        if value not in get_args(known):
            choices = ", ".join(get_args(known))
            message = Errors.P143.format(
                value=value, setting=setting, name=name, known=choices
            )
            raise ValueError(message)


def check_config_labels(
    name: str, *, labels: Mapping[str, Any], threshold: Any
) -> None:
    """Check that a saved config will hold labels as they are.

    name (str): The component's name, for the error message.
    labels (Mapping[str, Any]): The setting: label -> name, or name and description.
    threshold (Any): The setting.
    RAISES (ValueError): If it will not.
    """
    settings: dict[str, Any] = {"labels": labels, "threshold": threshold}
    for setting, value in settings.items():
        for label, content in value.items() if isinstance(value, Mapping) else ():
            parted = "." in label and isinstance(content, Mapping)
            names = content.values() if isinstance(content, Mapping) else [content]
            variable = any("${" in name for name in (label, *map(str, names)))
            if parted or variable or not _KEY.fullmatch(label):
                message = Errors.P158.format(name=name, label=label, setting=setting)
                raise ValueError(message)


def _is_threshold(value: Any) -> bool:
    """Whether it is a probability, or a mapping of labels to probabilities."""
    if isinstance(value, Mapping):
        labels = all(isinstance(label, str) for label in value)
        return labels and all(map(_is_probability, value.values()))
    return _is_probability(value)


def _is_probability(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1
