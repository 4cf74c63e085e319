"""Labels and their names in the prompt, as users set them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spacy.tokens import Doc

from spacy_padellm.errors import Errors

LABELS_KEY = "padellm_labels"
"""Key of `doc.user_data` for the labels to find in this Doc alone."""

# label -> its name, or its name and a description
LabelNames = Mapping[str, str | Mapping[str, str]]
# the labels set for one Doc: each with its name, or None if no name was set
DocLabels = tuple[tuple[str, str | None], ...]
# the labels set for a Doc, or None -> the labels to find in it, with their names
ResolveLabels = Callable[[DocLabels | None], dict[str, str]]


def get_doc_labels(doc: Doc) -> DocLabels | None:
    """The labels set for a Doc in its user data; None if there are none.

    Equivalent settings, such as a list and a tuple of labels, give equal results.

    doc (Doc): The Doc.
    RAISES (ValueError): If a label or a name is not a string, or empty.
    """
    labels = doc.user_data.get(LABELS_KEY)
    return None if labels is None else _check_labels(labels)


def label_names(
    labels: LabelNames | Mapping[str, str | None] | Iterable[str],
    known: Mapping[str, str],
) -> dict[str, str]:
    """Label -> its name in the prompt.

    labels (LabelNames | Iterable[str]): Label -> its name, or a mapping with `name` and
        `description`, where the description follows the name; or only the labels.
    known (Mapping[str, str]): Names for labels without a name; a label that is not in
        it is its own name.
    RAISES (ValueError): If a label or a name is not a string, or empty, or two labels
        have the same name.
    """
    names = {
        label: known.get(label, label) if name is None else name
        for label, name in _check_labels(labels)
    }
    check_distinct(names)
    return names


def check_distinct(names: Mapping[str, str]) -> None:
    """Check that each label has a different name.

    names (Mapping[str, str]): Label -> its name in the prompt.
    RAISES (ValueError): If two labels have the same name.
    """
    label_of: dict[str, str] = {}
    for label, name in names.items():
        other = label_of.setdefault(name, label)
        if other != label:
            raise ValueError(Errors.P155.format(name=name, first=other, second=label))


def _check_labels(labels: Any) -> DocLabels:
    """Check labels as a user set them; repeated labels are kept once."""
    if isinstance(labels, Mapping):
        pairs: Iterable[tuple[Any, Any]] = labels.items()
    elif isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ValueError(Errors.P147.format(value=labels))
    else:
        pairs = ((label, None) for label in labels)
    checked: dict[str, str | None] = {}
    for label, name in pairs:
        if not isinstance(label, str) or not label:
            kind = type(label).__name__
            raise ValueError(Errors.P141.format(label=label, kind=kind))
        checked[str(label)] = None if name is None else _prompt_name(label, name)
    return tuple(checked.items())


def _prompt_name(label: str, name: Any) -> str:
    """A label's name in the prompt, with its description if it has one."""
    parts = [name]
    if isinstance(name, Mapping) and set(name) <= {"name", "description"}:
        parts = [name.get("name", label)]
        parts += [name["description"]] if "description" in name else []
    if not all(isinstance(part, str) and part for part in parts):
        raise ValueError(Errors.P148.format(label=label, value=name))
    return ": ".join(parts)
