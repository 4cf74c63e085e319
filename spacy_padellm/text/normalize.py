"""Normalization of texts for the model: composed Unicode, and the spaces of corpora.

Wrapped lines, double spaces, invisible characters, decomposed letters and names right
after a mark are rare in training data, and models make mistakes on them. Offsets still
refer to the original text: alignment ignores these differences.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Literal
from unicodedata import combining, is_normalized, normalize

from spacy_padellm.text.opening import ends_of_opening, space_after_opening

# other than line breaks and tabs
_CONTROL = r"\x00-\x08\x0e-\x1f\x7f-\x9f"
# and zero-width spaces, byte order marks and marks of the writing direction, as they
# come with copied text; joiners are not among them, as scripts and emoji need those
_INVISIBLE = f"{_CONTROL}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_SPACE = rf"[\s{_INVISIBLE}]"
# whitespace and invisible characters, other than a single space inside the text
_SPACES = re.compile(rf"{_SPACE}{{2,}}|[^\S ]|[{_INVISIBLE}]")
SOFT_HYPHEN = "\u00ad"
_ANY_SPACE = re.compile(rf"[\s{_INVISIBLE}{SOFT_HYPHEN}]")
# not the full-width marks, which are those of Chinese and Japanese
_FULL_WIDTH = re.compile("[０-９Ａ-Ｚａ-ｚ]")
_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B)}
# English models do not know them
GUILLEMETS = str.maketrans("«»‹›", "\"\"''")
# characters that neither combine with those before them nor continue whitespace:
# letters but the vowels and finals of Hangul, and those of Kirat Rai
_FRESH = re.compile(r"[!-~]|[^\W\u1160-\u11ff\U00016d40-\U00016d7f]")
# many characters in a row that may combine with the one before them: no letter but two
# half-width marks does
_MANY_MARKS = re.compile(r"(?:[^\w\s\x00-\u02ff]|[\uff9e\uff9f]){32}")


def normalize_text(text: str) -> str:
    """Convert a text to what the model reads.

    This is `normalize_characters`, and `space_after_opening` after it.
    """
    return space_after_opening(normalize_characters(text))


def normalize_characters(text: str) -> str:
    """Convert a text to Unicode NFC, with single spaces and none at its start.

    Characters that cannot be seen count as whitespace, but for soft hyphens, which are
    left out. Full-width letters and digits become those of ASCII, and so do guillemets.
    """
    text = text.replace(SOFT_HYPHEN, "").translate(GUILLEMETS)
    text = _FULL_WIDTH.sub(lambda match: match.group().translate(_TO_ASCII), text)
    if not is_normalized("NFC", text):
        text = compose(text, "NFC")
    return _SPACES.sub(" ", text).removeprefix(" ")


def is_space(character: str) -> bool:
    """Whether a character is whitespace, or cannot be seen, as soft hyphens."""
    return _ANY_SPACE.match(character) is not None


def remove_spaces(text: str) -> str:
    """Remove all whitespace, and the characters that cannot be seen."""
    return _ANY_SPACE.sub("", text)


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


def normalized_places(
    text: str, places: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The offsets of pieces of a text in the normalized text.

    text (str): The original text.
    places (Sequence[tuple[int, int]]): The first character of each piece, and the one
        after it. None of these may continue a run of whitespace, or combine with the
        character before it, or that piece alone has other offsets.
    RETURNS (list[tuple[int, int]]): The same in the normalized text.
    """
    normalized: dict[int, int] = {}  # without the inserted spaces
    reached = size = 0  # a character that begins anew, and its normalized offset
    for cut in sorted({offset for place in places for offset in place}):
        last = reached
        for fresh in _FRESH.finditer(text, reached, cut + 1):
            last = fresh.start()
        size += len(normalize_characters(text[reached:last]))
        reached = last
        normalized[cut] = size + len(normalize_characters(text[reached:cut]))
    inserted = list(ends_of_opening(normalize_characters(text)))
    # a space right before a piece is not of it, nor is one right after it
    return [
        (first + bisect_right(inserted, first), last + bisect_left(inserted, last))
        for first, last in ((normalized[a], normalized[b]) for a, b in places)
    ]
