"""Texts as models read them: in composed Unicode, with one blank between words.

Lines that were wrapped, double blanks and decomposed letters are rare in training data,
and models misread them. Offsets stay those of the text as it is: alignment forgives
these differences.
"""

from __future__ import annotations

import re
from unicodedata import is_normalized, normalize

# what is not one plain blank
_BLANKS = re.compile(r"\s\s+|[^\S ]")


def normalize_text(text: str) -> str:
    """A text in Unicode's form NFC, each run of blanks and line breaks as one blank."""
    if not is_normalized("NFC", text):
        text = normalize("NFC", text)
    return _BLANKS.sub(" ", text)


def normalized_offset(text: str, place: int) -> int:
    """Where a character of a text stands in the text as it is read.

    text (str): The text.
    place (int): The character, one that neither goes on a run of blanks nor composes
        with the one before it.
    """
    return len(normalize_text(text[:place]))
