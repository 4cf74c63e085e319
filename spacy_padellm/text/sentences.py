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
    "Amb|Atty|Capt|Chas|Col|Cpl|Det|Dott|Dr|Ft|Gen|Geo|Gov|Hl|Hon|Ing|Insp|Jos|Lt|Maj|Me|"
    "Mgr|Mlle|Mme|Mrs?|Ms|Mt|Ntra|Ph|Profa?|Pres|Pvt|Rep|Rev|Sen|Sgt|Sig|Sta?|Ste|Supt|"
    "Wm|Дж|[Сс]в|[Сс]т|[Уу]л|[Śś]w|[Ii]m|[Uu]l"
)


def sentence_starts(doc: Doc) -> list[int]:
    """Find the tokens with which sentences begin.

    A sentence ends with a token of periods, question or exclamation marks, the quotes
    and brackets that touch it, and whitespace. It goes on if the next word begins with
    a lower-case letter, and where a mark may belong to a name: a period after an
    initial, a title or a number of one or two digits, and a single exclamation or
    question mark after a word with a capital. To join two sentences costs little, to
    part a name loses it.

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
    if mark == ".":
        return any(p.fullmatch(word) is not None for p in (_UNFINISHED, _TITLE))
    return mark in {"!", "?"} and word[0].isupper()


def _continues(token: Token) -> bool:
    """Whether a token after the end of a sentence belongs to it."""
    word = token.text
    if word in _CLOSING:
        return not token.nbor(-1).whitespace_  # else it opens the next sentence
    return word.isspace() or _END.fullmatch(word) is not None
