"""Spaces between marks and the words beside them: `(Berlin)` becomes `( Berlin)`.

Tokenizers have other tokens for a word that no space precedes, and one token for marks
that stand together, as in `Inc.,`. Models trained on corpora of single words
(`( Berlin )`) rarely saw those, and miss names there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spacy_padellm.mention.scripts import (
    HAN_OR_KANA,
    SOUTHEAST_ASIAN,
    character_class,
)

_LETTER = rf"(?!{character_class((*HAN_OR_KANA, *SOUTHEAST_ASIAN))})[^\W\d_]"
_UPPER = "A-Z" + "".join(c for c in map(chr, range(0xC0, 0x530)) if c.isupper())
_LOWER = "a-z" + "".join(c for c in map(chr, range(0xDF, 0x530)) if c.islower())
# neither clitics that stand apart (`John 's`, `THEY 'RE`), nor emoticons (`:D`)
_TITLED = f"[{_UPPER}][{_LOWER}.]"
_CAPITALIZED = f"(?:{_TITLED}|[{_UPPER}]{{3}})"
_QUOTES = r"""(\[{"“„«‹'‘*"""
# at the start of a word: not marks that belong to it, as in #Berlin, @berlin and .com
_FIRST = rf"{_QUOTES}”•·¿¡>|–—…-"
# at the start of a name alone: they can belong to other words, as in _x_, <b> and /etc
_BEFORE_NAMES = r"(?:_|(?![#@$£€¥%.,;:!?)\]}’]|" rf"[{_FIRST}])[^\w\s])"
_OPENING = re.compile(
    r"(?P<address>(?<!\w)(?:https?://|www\.|mailto:)\S+)"
    # after the full stop of a word: `Inc.,` and `Inc.'s`
    r"|(?<=[^\W\d_]\.)(?=,|['’][sS](?!\w))"
    rf"|(?<!\S)[{_FIRST}]*{_BEFORE_NAMES}+(?={_CAPITALIZED})(?!\S*@)"
    rf"|(?<!\S)[{_FIRST}]*(?:(?!['‘-])[{_FIRST}](?={_LETTER})|['‘](?={_CAPITALIZED})"
    rf"|-(?={_TITLED}))"  # not of the brackets of corpora (`-LRB-`)
    # between words
    rf"|(?:[,|—…]|(?<!-)--+|(?<!\.)\.{{3,}})[{_QUOTES}]*(?={_LETTER})"
    rf"|[:;=][{_QUOTES}]*(?={_CAPITALIZED})"
    # after an underlined word
    r"|(?<=[^\W\d_])(?=_+(?!\w))"
)


def space_after_opening(text: str) -> str:
    """Put a space between marks and the word that they open, or that follows them.

    These are brackets, quotation marks, dashes, bullets and the like at the start of a
    word, other marks but `#`, `@` and the like at the start of a name, and commas,
    colons, equals signs, long dashes and dots between two words. One comes before the
    underscores that end a word, too, and before a comma or `'s` after a word's full
    stop. Addresses with http, www or mailto stay as they
    are, and so do other marks before an address with `@`.
    """
    return _OPENING.sub(
        lambda match: match[0] if match["address"] else f"{match[0]} ", text
    )


def ends_of_opening(text: str) -> Iterator[int]:
    """The offsets at which `space_after_opening` puts a space, in text order."""
    matches = _OPENING.finditer(text)
    return (match.end() for match in matches if not match["address"])
