"""Numbers in a model's settings that are larger than those of any model.

Libraries make lists of layers and labels as soon as they read the settings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors

# numbers of what is made one by one, and numbers that nothing is made of
_COUNTS = re.compile(r"(?!.*(?:max|size)).*(?:layer|block|depth|label|types)")
_HARMLESS = re.compile(
    r".*(?:theta|base|max|length|window|seed|param|tokens_seen|total_flos)"
)
_MOST_COUNTED = 10_000
# tokens that a tokenizer adds, in time that grows with the square of their number
_ADDED = ("extra_ids", "offset")
_MOST_ADDED = 1000
_MOST = 1 << 24
_MOST_ENTRIES = 50_000  # of a list or an object
_MOST_REPLICATIONS = 100  # peft copies ranges of layers
# peft compiles each pattern of these for each of the model's modules
_COMPILED = ("rank_pattern", "alpha_pattern")
_MOST_COMPILED = 1000
_LONGEST_COMPILED = 100_000  # characters of all patterns of a setting
_MOST_STEPS = 100  # of methods that compute an adapter's first weights
_STEPS = "_niter_"


def check_announced(settings: Any, *, source: Path | str) -> None:
    """Check that no number, list or object in a model's settings is too large.

    settings (Any): Settings as in JSON.
    source (Path | str): Their file, for the error message.
    RAISES (ValueError): If one is.
    """
    waiting = [("", settings)]
    while waiting:
        field, value = waiting.pop()
        most = _most(field)
        if field == "init_lora_weights":
            _check_steps(value, source)
        if isinstance(value, int) and value > most:
            raise ValueError(
                Errors.P770.format(source=source, field=field, value=value, most=most)
            )
        if not isinstance(value, list | dict):
            continue
        if field in _COMPILED:
            _check_compiled(field, value, source)
        most = _most_entries(field)
        if len(value) > most:
            raise ValueError(
                Errors.P771.format(
                    source=source, field=field, count=len(value), most=most
                )
            )
        if isinstance(value, dict):
            waiting += value.items()
        else:
            waiting += ((field, item) for item in value)


def _most(field: str) -> float:
    """The largest whole number that a setting may have."""
    if field == "loftq_iter":
        return _MOST_STEPS
    if field in _ADDED:
        return _MOST_ADDED
    if _COUNTS.match(field):
        return _MOST_COUNTED
    return math.inf if _HARMLESS.match(field) else _MOST


def _most_entries(field: str) -> int:
    if field == "layer_replication":
        return _MOST_REPLICATIONS
    return _MOST_COUNTED if _COUNTS.match(field) else _MOST_ENTRIES


def _check_compiled(field: str, patterns: Collection[Any], source: Path | str) -> None:
    """Check that compiling the patterns of a setting takes no long time."""
    characters = sum(map(len, map(str, patterns)))
    if len(patterns) > _MOST_COMPILED or characters > _LONGEST_COMPILED:
        message = Errors.P1010.format(
            source=source,
            field=field,
            count=len(patterns),
            characters=characters,
            most=_MOST_COMPILED,
            longest=_LONGEST_COMPILED,
        )
        raise ValueError(message)


def _check_steps(method: Any, source: Path | str) -> None:
    """Check how an adapter's first weights are computed: peft does that on loading."""
    try:
        steps = int(str(method).rpartition(_STEPS)[2])
    except ValueError:
        return
    if steps > _MOST_STEPS:
        message = Errors.P776.format(source=source, value=method, most=_MOST_STEPS)
        raise ValueError(message)
