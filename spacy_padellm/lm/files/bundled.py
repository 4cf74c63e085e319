"""The models that come with the package."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_MODELS = Path(__file__).parents[2] / "models"
BUNDLED = {"bundled-en": _MODELS / "en", "bundled-en-sm": _MODELS / "en_sm"}
NAMES = ", ".join(BUNDLED)  # for messages
_TYPO = 0.75  # from 0 to 1; how much a name is like that of a bundled model


def is_like_bundled(name: str) -> bool:
    """Whether a name is probably meant for a bundled model, as "bundled_en"."""
    bare = name.lower().replace("_", "-")
    return "/" not in name and bool(get_close_matches(bare, BUNDLED, cutoff=_TYPO))


def language_of(name: str) -> str:
    """The language of a bundled model's texts, as the code that spaCy uses."""
    return name.split("-")[1]
