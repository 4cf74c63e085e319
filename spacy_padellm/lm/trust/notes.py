"""Notes that training programs leave in a model's config, such as `tokens_seen`.

Their numbers may be of any size, as no code reads them: the name of a note stands
nowhere in transformers' own code, except in its trainers.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import transformers

_LARGE = 1 << 24  # smaller numbers may have any name
_NAME = re.compile(rb"[A-Za-z_]\w*")
_TRAINERS = re.compile(r"trainer|training_args|modelcard|integration_utils|notebook")


def without_notes(config: Any) -> Any:
    """The settings of a model without large numbers that are only notes.

    config (Any): The content of `config.json`. What its objects hold is kept as it is:
        other packages may read it.
    RETURNS (Any): The same, or a copy without them.
    """
    if not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if not _is_note(key, value)}


def _is_note(key: str, value: Any) -> bool:
    if not (isinstance(value, int) and value > _LARGE and key.isidentifier()):
        return False
    names = _names_in_transformers()
    # where the code is not installed as text, nothing is known
    return b"hidden_size" in names and key.encode("utf8", "replace") not in names


@cache  # it takes a second
def _names_in_transformers() -> frozenset[bytes]:
    """All words of the code that loads and runs models."""
    files = Path(transformers.__file__).parent.rglob("*.py")
    return frozenset(
        name
        for file in files
        if not _TRAINERS.search(file.name)
        for name in _NAME.findall(file.read_bytes())
    )
