"""Where sentences begin, by their punctuation: no model and no other pipe is needed."""

from __future__ import annotations

import re

from spacy.tokens import Doc, Token

_END = re.compile(r"[.?!…]+|[。！？]+")
_CLOSING = {*"\"'”’»)]}」』", "''"}
# before a period: an initial, or the number of a day or a paragraph
_UNFINISHED = re.compile(r"[^\W_]|\d\d")


def sentence_starts(doc: Doc) -> list[int]:
    """Find the tokens with which sentences begin.

    A sentence ends with a token of periods, question or exclamation marks, the quotes
    and brackets that touch it, and whitespace. It goes on if the next word begins with
    a lower-case letter, or if a period follows an initial or a number of one or two
    digits. Abbreviations are the tokenizer's matter: with "Dr." as one token, there is
    no period.

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
        before = words[index - 2] if index > 1 else ""
        initial = words[index - 1] == "." and _UNFINISHED.fullmatch(before)
        while index < len(words) and _continues(doc[index]):
            index += 1
        if index < len(words) and not (initial or words[index][0].islower()):
            starts.append(index)
    return starts


def _continues(token: Token) -> bool:
    """Whether a token after the end of a sentence belongs to it."""
    word = token.text
    if word in _CLOSING:
        return not token.nbor(-1).whitespace_  # else it opens the next sentence
    return word.isspace() or _END.fullmatch(word) is not None
