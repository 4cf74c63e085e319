"""Normalization of texts for the model: composed Unicode, single spaces.

Wrapped lines, double spaces and decomposed letters are rare in training data, and
models make mistakes on them. Offsets still refer to the original text: alignment
ignores these differences.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Literal
from unicodedata import combining, is_normalized, normalize

# whitespace other than a single space
_WHITESPACE = re.compile(r"\s\s+|[^\S ]")
# many characters in a row that may combine with the one before them: no letter but two
# half-width marks does
_MANY_MARKS = re.compile(r"(?:[^\w\s\x00-\u02ff]|[\uff9e\uff9f]){32}")


def normalize_text(text: str) -> str:
    """Convert a text to Unicode NFC, and each run of whitespace to one space."""
    if not is_normalized("NFC", text):
        text = compose(text, "NFC")
    return _WHITESPACE.sub(" ", text)


def compose(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Convert a text to a composed Unicode form, as `unicodedata.normalize` does.

    That function takes quadratic time for marks that are not in canonical order. Long
    runs of them are sorted first.

    text (str): The text.
    form (Literal["NFC", "NFKC"]): The form.
    """
    if not _MANY_MARKS.search(text):
        return normalize(form, text)
    apart: Literal["NFD", "NFKD"] = "NFD" if form == "NFC" else "NFKD"
    decomposed = "".join(normalize(apart, char) for char in text)
    runs = groupby(decomposed, key=lambda char: combining(char) > 0)
    ordered = (sorted(run, key=combining) if marks else run for marks, run in runs)
    return normalize(form, "".join(map("".join, ordered)))


def normalized_offset(text: str, offset: int) -> int:
    """The offset of a character in the normalized text.

    text (str): The original text.
    offset (int): Offset of the character in it. The character must not continue a run
        of whitespace, or combine with the character before it.
    RETURNS (int): Its offset in the normalized text.
    """
    return len(normalize_text(text[:offset]))
