"""Texts that a tokenizer takes too long for."""

from __future__ import annotations

from spacy.language import Language
from spacy.tokenizer import Tokenizer

LONGEST_WORD = 10_000  # characters; some take spaCy's tokenizer quadratic time


def text_problem(
    nlp: Language, text: str, *, longest_word: int = LONGEST_WORD
) -> str | None:
    """Check that a text can be tokenized in a reasonable time.

    nlp (Language): The pipeline, whose tokenizer is used.
    text (str): The text.
    longest_word (int): The most characters without a blank, for spaCy's own tokenizer.
    RETURNS (str | None): What is wrong with it, or None.
    """
    if isinstance(nlp.tokenizer, Tokenizer):
        longest = max(map(len, text.split()), default=0)
        if longest > longest_word:
            return f"the text has {longest} characters without a blank"
    return None
