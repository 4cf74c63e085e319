"""How long a tokenizer may make a text, and the string of a token.

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
    # of decoders: a space for each token, or for each empty string
    "WordPiece": 2,
    "BPEDecoder": 2,
    "CTC": 2,
}
# the parts whose steps follow each other, and their names in the error message
_CHAINS = {
    ("normalizer", "pre_tokenizer"): "normalizer and the pre_tokenizer",
    ("decoder",): "decoder",
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
    for names, steps in _CHAINS.items():
        parts = [tokenizer.get(name) for name in names]
        growth = math.prod(_factor(step) for part in parts for step in _steps(part))
        if growth > _MOST:
            known = {"source": source, "growth": growth, "most": _MOST}
            raise ValueError(Errors.P773.format(steps=steps, **known))
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
            for key in ("normalizers", "pretokenizers", "processors", "decoders"):
                waiting.append(step.get(key))


def _factor(step: Mapping[str, Any]) -> int:
    """How many characters a step makes of one, at most."""
    kind = step.get("type")
    factor = _FACTORS.get(kind, 1) if isinstance(kind, str) else _UNTYPED
    content = step.get("content")
    if isinstance(content, str):
        pattern = step.get("pattern")
        string = pattern.get("String") if isinstance(pattern, Mapping) else pattern
        if isinstance(string, str) and string:
            factor *= max(1, math.ceil(len(content) / len(string)))
        else:
            factor *= 1 + len(content)  # it may match nothing, before each character
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
    """How many pieces a template has, each with the ids of its special token."""
    special = step.get("special_tokens")
    sizes = {
        name: len(token["ids"])
        for name, token in (special.items() if isinstance(special, Mapping) else ())
        if isinstance(token, Mapping) and isinstance(token.get("ids"), list)
    }
    templates = [step[key] for key in ("single", "pair") if key in step]
    pieces = [p for pieces in templates if isinstance(pieces, list) for p in pieces]
    return len(pieces) + sum(sizes.get(_special_token(piece), 0) for piece in pieces)


def _special_token(piece: Any) -> str | None:
    """The special token that a piece of a template names; None for a text."""
    token = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
    name = token.get("id") if isinstance(token, Mapping) else None
    return name if isinstance(name, str) else None
