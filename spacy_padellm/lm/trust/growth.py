"""How long a tokenizer may make a text before it cuts it into tokens.

The steps of `tokenizer.json` are looked at, not tried: a text that shows what they do
would have to hold each of their patterns.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy_padellm.errors import Errors

# ALBERT's tokenizer has the largest known, 3,564
_MOST = 10_000  # characters in place of one
_MOST_ADDED = 1000  # tokens around a text
# how many characters each step makes of one
_FACTORS = {
    "NFC": 3,
    "NFD": 4,
    "NFKC": 18,
    "NFKD": 18,
    "Lowercase": 3,
    "BertNormalizer": 12,
    "ByteLevel": 4,
    "Metaspace": 2,
}
_UNTYPED = 18  # steps as old versions wrote them


def check_growth(tokenizer: Any, *, source: Path | str) -> None:
    """Check that a tokenizer makes no very long texts, and adds few tokens.

    tokenizer (Any): The content of `tokenizer.json`, or a part of it.
    source (Path | str): Its file or name, for the error message.
    RAISES (ValueError): If it does.
    """
    if not isinstance(tokenizer, Mapping):
        return
    parts = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    growth = math.prod(_factor(step) for part in parts for step in _steps(part))
    if growth > _MOST:
        message = Errors.P773.format(source=source, growth=growth, most=_MOST)
        raise ValueError(message)
    added = sum(_added(step) for step in _steps(tokenizer.get("post_processor")))
    if added > _MOST_ADDED:
        message = Errors.P774.format(source=source, count=added, most=_MOST_ADDED)
        raise ValueError(message)


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """A step, or the steps of a sequence at any depth."""
    waiting = [part]
    while waiting:
        step = waiting.pop()
        if isinstance(step, list):
            waiting += step
        elif isinstance(step, Mapping):
            yield step
            for key in ("normalizers", "pretokenizers", "processors"):
                waiting.append(step.get(key))


def _factor(step: Mapping[str, Any]) -> int:
    """How many characters a step makes of one, at most."""
    kind = step.get("type")
    factor = _FACTORS.get(kind, 1) if isinstance(kind, str) else _UNTYPED
    content = step.get("content")
    if isinstance(content, str):
        pattern = step.get("pattern")
        string = pattern.get("String") if isinstance(pattern, Mapping) else pattern
        replaced = len(string) if isinstance(string, str) else 1
        factor *= max(1, math.ceil(len(content) / max(1, replaced)))
    for key in ("prepend", "replacement"):
        if isinstance(step.get(key), str):
            factor *= 1 + len(step[key]) if key == "prepend" else max(1, len(step[key]))
    return factor * _longest(step.get("precompiled_charsmap"))


def _longest(charsmap: Any) -> int:
    """The longest text that sentencepiece's table puts in the place of a character."""
    try:
        table = base64.b64decode(charsmap)
    except (TypeError, ValueError):
        return 1  # there is none, or tokenizers refuses it
    start = 4 + int.from_bytes(table[:4], "little")  # after the size, and the trie
    return max(1, *map(len, table[start:].split(b"\0")), 1)


def _added(step: Mapping[str, Any]) -> int:
    """How many pieces a template has, with the ids of its special tokens."""
    added = sum(
        len(step[key]) for key in ("single", "pair") if isinstance(step.get(key), list)
    )
    special = step.get("special_tokens")
    for token in special.values() if isinstance(special, Mapping) else ():
        ids = token.get("ids") if isinstance(token, Mapping) else None
        added += len(ids) if isinstance(ids, list) else 0
    return added
