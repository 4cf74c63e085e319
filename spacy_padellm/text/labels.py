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
# each label with its name, or with None where it was given without one
GivenLabels = tuple[tuple[str, str | None], ...]
# a Doc's own labels, None if it has none -> label -> its name
LabelsOf = Callable[[GivenLabels | None], dict[str, str]]


def own_labels(doc: Doc) -> GivenLabels | None:
    """A Doc's own labels, those that mean the same being equal; None if it has none.

    RAISES (ValueError): If a label or a name is no string, or empty.
    """
    labels = doc.user_data.get(LABELS_KEY)
    return None if labels is None else _given(labels)


def label_names(
    labels: LabelNames | Mapping[str, str | None] | Iterable[str],
    known: Mapping[str, str],
) -> dict[str, str]:
    """Label -> its name in the prompt.

    labels (LabelNames | Iterable[str]): Label -> its name, or a mapping with `name` and
        `description`, which stands after the name; or labels only.
    known (Mapping[str, str]): Names of labels that are given without one; a label that
        is not known is its own name.
    RAISES (ValueError): If a label or a name is no string, or empty, or two labels have
        the same name.
    """
    names = {
        label: known.get(label, label) if name is None else name
        for label, name in _given(labels)
    }
    check_distinct(names)
    return names


def check_distinct(names: Mapping[str, str]) -> None:
    """Check that labels have names of their own.

    names (Mapping[str, str]): Label -> its name in the prompt.
    RAISES (ValueError): If two labels have the same name.
    """
    label_of: dict[str, str] = {}
    for label, name in names.items():
        other = label_of.setdefault(name, label)
        if other != label:
            raise ValueError(Errors.P155.format(name=name, one=other, other=label))


def _given(labels: Any) -> GivenLabels:
    """Labels as they were given, each once, checked."""
    if isinstance(labels, Mapping):
        named: Iterable[tuple[Any, Any]] = labels.items()
    elif isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ValueError(Errors.P147.format(value=labels))
    else:
        named = ((label, None) for label in labels)
    checked: dict[str, str | None] = {}
    for label, name in named:
        if not isinstance(label, str) or not label:
            kind = type(label).__name__
            raise ValueError(Errors.P141.format(label=label, kind=kind))
        checked[str(label)] = None if name is None else _name(label, name)
    return tuple(checked.items())


def _name(label: str, name: Any) -> str:
    """A label's name, with its description if it has one."""
    parts = [name]
    if isinstance(name, Mapping) and set(name) <= {"name", "description"}:
        parts = [name.get("name", label)]
        parts += [name["description"]] if "description" in name else []
    if not all(isinstance(part, str) and part for part in parts):
        raise ValueError(Errors.P148.format(label=label, value=name))
    return ": ".join(parts)
