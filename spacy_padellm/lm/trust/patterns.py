"""Regular expressions in a model's settings, which peft and transformers run.

They choose modules by them. A stranger's pattern may take exponential time, and nothing
stops it, so only those are allowed whose steps can be counted beforehand.
"""

from __future__ import annotations

import math
import re
from typing import Any

_LONGEST = 500  # characters of a pattern
_MOST_STEPS = 200_000  # of the patterns of a setting, for one name of a module
_NAME = 64  # characters of such a name

# an item that may be repeated, or a mark, which may not
_PIECE = re.compile(
    r"(?:[\w.,/ -]|\\[.\-wWdDsS]|\[\^?(?:[\w.-]|\\[.\-wd])+\])(?P<many>[*+?]\??)?"
    r"|(?P<mark>[$^]|\\[bB]|\((?:\?[:=!])?|\||\)(?![*+?{]))"
)
_KEYS = {
    # of LoRA adapters
    *("target_modules", "exclude_modules", "modules_to_save", "layers_pattern"),
    *("rank_pattern", "alpha_pattern"),
    # of quantized models
    *("modules_to_not_convert", "llm_int8_skip_modules", "dynamic"),
}
# before patterns of some quantized models
_PREFIX = re.compile(r"re:|[+-]:")


def slow_pattern(key: str, value: Any) -> str | None:
    """Find a pattern that may take very long.

    key (str): The name of a setting of a model.
    value (Any): Its value, as in JSON. The keys of an object are patterns, too.
    RETURNS (str | None): The pattern; None if there is none.
    """
    strings = value if isinstance(value, list | dict) else [value]
    steps = 0.0
    for string in strings:
        if isinstance(string, str) and (key in _KEYS or string.startswith("re:")):
            steps += count_steps(_PREFIX.sub("", string, count=1))
            if steps > _MOST_STEPS:
                return string
    return None


def count_steps(pattern: str) -> float:
    """Count the steps that a pattern needs at most for a name of a module.

    pattern (str): The pattern, as in `re`.
    RETURNS (float): 0 for a name alone. Infinite for what is not counted, such as
        groups that are repeated, and counts in braces.
    """
    if len(pattern) > _LONGEST:
        return math.inf
    choices = [1]  # of the open groups
    steps, repeats, offset = 1, 0, 0
    while offset < len(pattern):
        piece = _PIECE.match(pattern, offset)
        if piece is None:
            return math.inf
        offset = piece.end()
        mark = piece["mark"] or ""
        if mark.startswith("("):
            choices.append(1)
        elif mark == "|":
            choices[-1] += 1
        elif mark == ")" and len(choices) > 1:
            steps *= choices.pop()
        repeats += piece["many"] is not None
    steps *= math.prod(choices)
    if steps == 1 and not repeats:
        return 0
    # repeats share the characters of a name; peft puts one more before some patterns
    return steps * math.comb(_NAME + repeats + 1, repeats + 1)
