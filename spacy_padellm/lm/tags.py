"""The tags that a model was taught to give the tokens of its texts.

They are kept in the model's config, and go with it wherever it is saved; an adapter has
no config, and keeps them in a file of its own. See `training.tags`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy_padellm.lm.load_errors import as_load_errors

_FILE_NAME = "padellm_tags.json"
_PREFIX = "padellm_"  # of the settings in a model's config that are ours


@dataclass(frozen=True, slots=True)
class TaughtTags:
    """The tags of labels, by the labels' names in the prompt.

    inside (Mapping[str, int]): Name -> the token that a text's tokens inside its
        mentions are tagged with; empty if the model was not taught to tag its texts.
    begins (Mapping[str, int]): Name -> the token that the first token of a mention is
        tagged with; without those that were taught no other tag than the inside's.
    sets (Sequence[Sequence[str]]): The names that texts were tagged with together: one
        set, unless training texts had labels of their own.
    overlaps (bool): Whether taught mentions overlapped: tags show the outer ones only.
    """

    inside: Mapping[str, int] = field(default_factory=dict)
    begins: Mapping[str, int] = field(default_factory=dict)
    sets: Sequence[Sequence[str]] = ()
    overlaps: bool = False


def read_tags(config: Any) -> TaughtTags:
    """The tags in a model's config."""
    inside = dict(getattr(config, "padellm_tags", {}))
    sets = getattr(config, "padellm_tag_sets", None)
    return TaughtTags(
        inside,
        dict(getattr(config, "padellm_begins", {})),
        [list(inside)] if sets is None else [list(names) for names in sets],
        bool(getattr(config, "padellm_overlaps", False)),
    )


def write_tags(config: Any, tags: TaughtTags) -> None:
    """Write tags to a model's config."""
    config.padellm_tags = dict(tags.inside)
    config.padellm_begins = dict(tags.begins)
    config.padellm_tag_sets = [list(names) for names in tags.sets]
    config.padellm_overlaps = tags.overlaps


def save_tags(folder: Path, config: Any) -> None:
    """Write the tags in a model's config to the folder of its adapter."""
    settings = config.to_dict().items()
    taught = {key: value for key, value in settings if key.startswith(_PREFIX)}
    if taught:
        (folder / _FILE_NAME).write_text(json.dumps(taught, indent=2) + "\n", "utf8")


def load_tags(folder: Path, config: Any) -> None:
    """Read what `save_tags` wrote, if it wrote anything, into a model's config.

    RAISES (ValueError): If the file cannot be read.
    """
    path = folder / _FILE_NAME
    if path.is_file():
        with as_load_errors(folder):
            for key, value in json.loads(path.read_text("utf8")).items():
                setattr(config, key, value)
