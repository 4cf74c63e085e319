"""Checks of the component's settings.

They are checked when the component is made, and where they are used: `cfg` may be
changed later.

Types in the signature of the factory would not do. confection 1.3.4 ignores bounds such
as those of `Annotated[int, Field(ge=1)]` and `PositiveInt`, and takes "7" for an int.
It checks `Literal` and `bool`, but its message names neither the component nor what to
do, and shows the whole config. So the factory's arguments are checked here, with our
messages. Decoders and other registered functions have plain types, which confection
checks, and check what these cannot say. `tests/pipeline/test_validation.py` fails when
confection changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from spacy_padellm.checks import is_number
from spacy_padellm.errors import Errors
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.text.token_spans import AlignmentMode
from spacy_padellm.text.windows import Layout
from spacy_padellm.text.write_mentions import Existing

# a key that a config file returns unchanged
_KEY = re.compile(r"(?![#;\[\s])[^:=\n\r]+(?<!\s)")


def check_cfg(name: str, cfg: Mapping[str, Any]) -> None:
    """Check the settings in a component's `cfg`.

    name (str): The component's name, for the error message.
    cfg (Mapping[str, Any]): `threshold`: see `check_threshold`. `spans_key` must be a
        string that is not blank; `alternatives` and `document_memory` bools; `dedup`,
        `alignment_mode`, `existing` and `layout` one of their choices.
    RAISES (ValueError): If one of them is not.
    """
    check_threshold(name, cfg["threshold"])
    spans_key = cfg["spans_key"]
    if not isinstance(spans_key, str) or not spans_key.strip():
        raise ValueError(Errors.P246.format(name=name, value=spans_key))
    for setting, choices in (
        ("dedup", get_args(Dedup)),
        ("alignment_mode", get_args(AlignmentMode)),
        ("existing", get_args(Existing)),
        ("layout", get_args(Layout)),
    ):
        if cfg[setting] not in choices:
            message = Errors.P143.format(
                value=cfg[setting],
                setting=setting,
                name=name,
                known=", ".join(choices),
            )
            raise ValueError(message)
    for setting in ("alternatives", "document_memory"):
        value = cfg[setting]
        if not isinstance(value, bool):
            message = Errors.P228.format(setting=setting, name=name, value=value)
            raise ValueError(message)


def check_threshold(name: str, threshold: Any) -> None:
    """Check a component's threshold.

    name (str): The component's name, for the error message.
    threshold (Any): Must be None, a number in 0..1, or label -> number.
    RAISES (ValueError): If it is not.
    """
    if threshold is not None and not _is_threshold(threshold):
        raise ValueError(Errors.P149.format(name=name, value=threshold))


def check_config_labels(name: str, *, labels: Any, threshold: Any) -> Mapping[str, Any]:
    """Check that a config file can store the labels.

    name (str): The component's name, for the error message.
    labels (Any): The setting: label -> name, or name and description.
    threshold (Any): The setting.
    RETURNS (Mapping[str, Any]): The labels; none for None.
    RAISES (ValueError): If it cannot.
    """
    labels = {} if labels is None else labels
    if not isinstance(labels, Mapping):
        raise ValueError(Errors.P247.format(name=name, value=labels))
    settings: dict[str, Any] = {"labels": labels, "threshold": threshold}
    for setting, value in settings.items():
        for label, content in value.items() if isinstance(value, Mapping) else ():
            if not isinstance(label, str):
                continue  # reported when the component is made
            is_section = "." in label and isinstance(content, Mapping)
            names = content.values() if isinstance(content, Mapping) else [content]
            has_variable = any("${" in name for name in (label, *map(str, names)))
            if is_section or has_variable or not _KEY.fullmatch(label):
                message = Errors.P158.format(name=name, label=label, setting=setting)
                raise ValueError(message)
    return labels


def _is_threshold(value: Any) -> bool:
    """Whether it is a probability, or a mapping of labels to probabilities."""
    if isinstance(value, Mapping):
        has_labels = all(isinstance(label, str) for label in value)
        return has_labels and all(map(_is_probability, value.values()))
    return _is_probability(value)


def _is_probability(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1
