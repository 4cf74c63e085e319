"""Scripts that are written without spaces between words."""

from __future__ import annotations

HAN_OR_KANA = (
    ("\u3005", "\u3007"),
    ("\u3040", "\u30ff"),
    ("\u31f0", "\u31ff"),
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\uff66", "\uff9f"),  # half-width kana
    ("\U00020000", "\U0003ffff"),
)
# Thai, Lao, Tibetan, Burmese, Khmer and Tai
SOUTHEAST_ASIAN = (
    ("\u0e00", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u1950", "\u19df"),
    ("\u1a20", "\u1aaf"),
)


def is_without_spaces(character: str) -> bool:
    """Whether a character is of a script without spaces between words."""
    if character < SOUTHEAST_ASIAN[0][0]:
        return False
    ranges = (*SOUTHEAST_ASIAN, *HAN_OR_KANA)
    return any(first <= character <= last for first, last in ranges)


def character_class(ranges: tuple[tuple[str, str], ...]) -> str:
    """The ranges of characters as a class of a regular expression."""
    return f"[{''.join(f'{first}-{last}' for first, last in ranges)}]"
