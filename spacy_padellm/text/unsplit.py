"""Text in scripts without spaces between words that the tokenizer does not split."""

from __future__ import annotations

import re

from spacy.tokens import Doc

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.mention.scripts import (
    HAN_OR_KANA,
    SOUTHEAST_ASIAN,
    character_class,
)

_HAN_OR_KANA = character_class(HAN_OR_KANA)
# ten Han or kana, or twenty characters of a Southeast Asian script, or Han or kana
# between two words in Latin letters
_RUN = re.compile(
    f"{_HAN_OR_KANA}{{10,}}"
    f"|{character_class(SOUTHEAST_ASIAN)}{{20,}}"
    f"|(?P<between>[A-Za-zÀ-ɏ]{{2}}{_HAN_OR_KANA}{{1,9}}[A-Za-zÀ-ɏ]{{2}})"
)
_SHOWN = 20  # characters in a message
warned: set[str] = set()  # languages


def warn_of_unsplit(doc: Doc, text: str) -> None:
    """Warn of the first passage of a language that should be words, but is one token.

    Names inside a token are not found. A text of ASCII characters costs no search.

    doc (Doc): The Doc.
    text (str): Its text.
    """
    if text.isascii() or doc.lang_ in warned or not (run := _RUN.search(text)):
        return
    span = doc.char_span(*run.span(), alignment_mode="expand")
    if span is not None and len(span) == 1:
        warned.add(doc.lang_)
        passage = (span.text if run["between"] else run.group())[:_SHOWN]
        logger.warning(Warnings.W765.format(text=passage, lang=doc.lang_))
