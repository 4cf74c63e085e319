"""Labels and their names in the prompt, as users give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spacy.tokens import Doc

from spacy_padellm.errors import Errors

LABELS_KEY = "padellm_labels"
"""Key of `doc.user_data` for the labels to find in this Doc alone."""

# label -> its name, or its name and a description
LabelNames = Mapping[str, str | Mapping[str, str]]
# what a Doc says of its own labels -> label -> its name
LabelsOf = Callable[[Any], dict[str, str]]


def own_labels(doc: Doc) -> Any:
    """What a Doc says of its own labels; None if it says nothing."""
    return doc.user_data.get(LABELS_KEY)


def label_names(
    labels: LabelNames | Iterable[str], known: Mapping[str, str]
) -> dict[str, str]:
    """Label -> its name in the prompt.

    labels (LabelNames | Iterable[str]): Label -> its name, or a mapping with `name` and
        `description`, which stands after the name; or labels only.
    known (Mapping[str, str]): Names of labels that are given without one; a label that
        is not known is its own name.
    RAISES (ValueError): If a label or a name is no string, or empty.
    """
    if isinstance(labels, Mapping):
        named: Mapping[str, Any] = labels
    elif isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ValueError(Errors.P147.format(value=labels))
    else:
        named = dict.fromkeys(labels)
    names = {}
    for label, given in named.items():
        if not isinstance(label, str) or not label:
            kind = type(label).__name__
            raise ValueError(Errors.P141.format(label=label, kind=kind))
        name = known.get(label, label) if given is None else _name(label, given)
        names[label] = name
    return names


def _name(label: str, given: Any) -> str:
    """A label's name, with its description if it has one."""
    parts = [given]
    if isinstance(given, Mapping) and set(given) <= {"name", "description"}:
        parts = [given.get("name", label)]
        parts += [given["description"]] if "description" in given else []
    if not all(isinstance(part, str) and part for part in parts):
        raise ValueError(Errors.P148.format(label=label, value=given))
    return ": ".join(parts)
