"""Normalization of texts for the model: composed Unicode, single spaces.

Wrapped lines, double spaces and decomposed letters are rare in training data, and
models make mistakes on them. Offsets still refer to the original text: alignment
ignores these differences.
"""

from __future__ import annotations

import re
from unicodedata import is_normalized, normalize

# whitespace other than a single space
_WHITESPACE = re.compile(r"\s\s+|[^\S ]")


def normalize_text(text: str) -> str:
    """Convert a text to Unicode NFC, and each run of whitespace to one space."""
    if not is_normalized("NFC", text):
        text = normalize("NFC", text)
    return _WHITESPACE.sub(" ", text)


def normalized_offset(text: str, offset: int) -> int:
    """The offset of a character in the normalized text.

    text (str): The original text.
    offset (int): Offset of the character in it. The character must not continue a run
        of whitespace, or combine with the character before it.
    """
    return len(normalize_text(text[:offset]))
