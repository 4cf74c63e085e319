"""The tags that a model was trained to give the tokens of its texts.

See `training.tags` for the training, and `config.py` for the file that holds them.
Folders of earlier versions hold them elsewhere: in the model's config, or, of a LoRA
adapter, in a file of their own. They are still read, and no longer written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.task.reading import as_file_errors
from spacy_padellm.lm.trust.fields import (
    as_flag,
    as_given,
    as_list,
    as_mapping,
    as_names,
    as_token,
)

_SHOWN = 600  # characters of an error in a message
_OLD_FILE = "padellm_tags.json"
_OLD_KEYS = {
    "padellm_tags": "inside",
    "padellm_begins": "begins",
    "padellm_tag_sets": "sets",
    "padellm_overlaps": "overlaps",
}


@dataclass(frozen=True, slots=True)
class TaughtTags:
    """The tags of labels, by the labels' names in the prompt.

    inside (Mapping[str, int]): Label name -> the token id that tags the tokens inside a
        mention. Empty if the model was not trained to tag its texts.
    begins (Mapping[str, int]): Label name -> the token id that tags the first token of
        a mention. Labels without one use the tag in `inside`.
    sets (Sequence[Sequence[str]]): The label names that texts were tagged with
        together. There is one set, unless training texts had their own labels.
    overlaps (bool): Whether mentions of the training texts overlapped. The tags then
        show the outer mentions only.
    """

    inside: Mapping[str, int] = field(default_factory=dict)
    begins: Mapping[str, int] = field(default_factory=dict)
    sets: Sequence[Sequence[str]] = field(default_factory=list)
    overlaps: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The tags as JSON values."""
        return {
            "inside": dict(self.inside),
            "begins": dict(self.begins),
            "sets": [list(names) for names in self.sets],
            "overlaps": self.overlaps,
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TaughtTags:
        """The reverse of `to_dict`. Missing values are those of no tags.

        settings (Mapping[str, Any]): The JSON values.
        RAISES (ValueError): If a value has the wrong type.
        """
        inside = as_mapping(settings.get("inside", {}), "tags.inside", as_token)
        begins = as_mapping(settings.get("begins", {}), "tags.begins", as_token)
        sets = settings.get("sets", [list(inside)] if inside else [])
        names = as_list(sets, "tags.sets", as_names)
        overlaps = as_flag(settings.get("overlaps", False), "tags.overlaps")
        return cls(inside, begins, names, overlaps)


def read_old_tags(folder: Path) -> TaughtTags | None:
    """Read the tags of a model folder that an earlier version saved.

    folder (Path): The model folder, or the folder of a LoRA adapter.
    RETURNS (TaughtTags | None): None if the folder holds no tags.
    RAISES (ValueError): If a file cannot be read.
    """
    for path in (folder / _OLD_FILE, folder / "config.json"):
        with as_file_errors(path):
            content = path.read_bytes() if path.is_file() else None
        tags = None if content is None else _parse_old_tags(content, path)
        if tags is not None:
            return tags
    return None


def _parse_old_tags(content: bytes, path: Path) -> TaughtTags | None:
    try:
        stored = as_mapping(json.loads(content.decode("utf8")), "content", as_given)
        settings = {
            name: stored[key] for key, name in _OLD_KEYS.items() if key in stored
        }
        return TaughtTags.from_dict(settings) if settings else None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = Errors.P1002.format(path=path, error=str(error)[:_SHOWN])
        raise ValueError(message) from error


def remove_old_tags(folder: Path) -> None:
    """Remove tags from where earlier versions saved them.

    folder (Path): The model folder.
    """
    (folder / _OLD_FILE).unlink(missing_ok=True)
    path = folder / "config.json"
    if path.is_file():
        stored = json.loads(path.read_text("utf8"))
        kept = {key: value for key, value in stored.items() if key not in _OLD_KEYS}
        if kept != stored:
            path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf8")


def drop_old_keys(config: Any) -> None:
    """Remove the tags from a loaded config, so that they are not saved with it again.

    config (transformers.PretrainedConfig): The model's config.
    """
    for key in _OLD_KEYS:
        if hasattr(config, key):
            delattr(config, key)
