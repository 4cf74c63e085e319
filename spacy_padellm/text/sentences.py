"""Where sentences begin, by their punctuation: no model and no other pipe is needed."""

from __future__ import annotations

import re

from spacy.tokens import Doc, Token

_END = re.compile(r"[.?!…؟]+|[。！？]+|[।۔։።]+")
_CLOSING = {*"\"'”“’»«)]}」』", "''"}
# before a period: an initial, or the number of a day or a paragraph
_UNFINISHED = re.compile(r"[^\W_]|\d\d")
# and what names begin with, where a tokenizer does not know it as an abbreviation
_TITLE = re.compile(
    "amb|atty|capt|chas|col|cpl|det|dott|dr|ft|gen|geo|gov|hl|hon|im|ing|insp|jos|lt|maj|"
    "me|mgr|mlle|mme|mrs?|ms|mt|ntra|ph|profa?|pres|pvt|rep|rev|sen|sgt|sig|sta?|ste|supt|"
    "ul|wm|дж|св|ст|ул|św",
    re.IGNORECASE,
)


def sentence_starts(doc: Doc) -> list[int]:
    """Find the tokens with which sentences begin.

    A sentence ends with a token of periods, question or exclamation marks, the quotes
    and brackets that touch it, and whitespace. It goes on if the next word begins with
    a lower-case letter, and where a mark may belong to a name: a period after an
    initial, a title or a number of one or two digits, and another mark after a word
    with a capital. To join two sentences costs little, to part a name loses it.

    doc (Doc): The Doc. Its own sentence boundaries are not read.
    RETURNS (list[int]): Their indices, from 0; empty if the Doc is.
    """
    words = [token.text for token in doc]
    starts = [0] if words else []
    index = 0
    while index < len(words):
        index += 1
        if not _END.fullmatch(words[index - 1]):
            continue
        in_name = index > 1 and _may_be_of_name(words[index - 1], words[index - 2])
        while index < len(words) and _continues(doc[index]):
            index += 1
        if index < len(words) and not (in_name or words[index][0].islower()):
            starts.append(index)
    return starts


def _may_be_of_name(mark: str, word: str) -> bool:
    """Whether a mark after a word may be inside a name: `Sgt. Pepper`, `Yahoo! Inc.`"""
    if mark != ".":
        return word[0].isupper()
    return any(p.fullmatch(word) is not None for p in (_UNFINISHED, _TITLE))


def _continues(token: Token) -> bool:
    """Whether a token after the end of a sentence belongs to it."""
    word = token.text
    if word in _CLOSING:
        return not token.nbor(-1).whitespace_  # else it opens the next sentence
    return word.isspace() or _END.fullmatch(word) is not None
