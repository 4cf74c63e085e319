"""The tags that the tokens of a text may have; see `training.tags`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spacy_padellm.lm.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class TagSet:
    """Tags of labels, those of mentions' insides first, then those of beginnings.

    ids (list[int]): `<eos>`, which is outside of mentions, and the tags.
    labels (list[str | None]): Whose insides they are; None where the label is not asked
        for.
    begins (list[int]): To which of the labels each beginning belongs, from 1.
    as_taught (bool): Whether the model was taught to choose between these.
    """

    ids: list[int]
    labels: list[str | None]
    begins: list[int]
    as_taught: bool


def choose_tags(
    lm: LanguageModel, labels: Mapping[str, str], *, eos: int
) -> TagSet | None:
    """The tags of labels, and of those that were taught beside them.

    Without these their mentions would be taken for ones of the labels asked for. Of
    several sets of labels that a model was taught, the smallest that fits counts.

    lm (LanguageModel): The model.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    eos (int): The tag outside of mentions.
    RETURNS (TagSet | None): None if none of the labels has a tag.
    """
    label_of = {name: label for label, name in labels.items()}
    asked = [name for name in label_of if name in lm.tags]
    if not asked:
        return None
    fitting = [names for names in lm.tag_sets if {*asked} <= {*names}]
    taught = min(fitting, key=len, default=asked)
    names = [*asked, *(n for n in taught if n in lm.tags and n not in label_of)]
    begun = [(number, n) for number, n in enumerate(names, start=1) if n in lm.begins]
    return TagSet(
        ids=[eos, *(lm.tags[n] for n in names), *(lm.begins[n] for _, n in begun)],
        labels=[label_of.get(name) for name in names],
        begins=[number for number, _ in begun],
        as_taught=bool(fitting),
    )
