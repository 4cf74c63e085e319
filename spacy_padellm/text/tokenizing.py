"""Tokenize texts, some of which the tokenizer cannot take."""

from __future__ import annotations

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc

LONGEST_WORD = 10_000  # characters; some take spaCy's tokenizer quadratic time


class TokenizingError(ValueError):
    """A text cannot be tokenized; the message is the reason."""


def text_problem(
    nlp: Language, text: str, *, longest_word: int = LONGEST_WORD
) -> str | None:
    """Check that a text can be tokenized in a reasonable time.

    nlp (Language): The pipeline, whose tokenizer is used.
    text (str): The text.
    longest_word (int): The most characters without a blank, for spaCy's own tokenizer.
    RETURNS (str | None): What is wrong with it, or None.
    """
    if len(text) > nlp.max_length:
        most = f"spaCy takes at most {nlp.max_length} (nlp.max_length)"
        return f"the text has {len(text)} characters, but {most}"
    if isinstance(nlp.tokenizer, Tokenizer):
        longest = max(map(len, text.split()), default=0)
        if longest > longest_word:
            return f"the text has {longest} characters without a blank"
    return None


def tokenize(nlp: Language, text: str) -> Doc:
    """Tokenize a text.

    nlp (Language): The pipeline, whose tokenizer is used.
    text (str): The text.
    RETURNS (Doc): Its tokens, not yet annotated.
    RAISES (TokenizingError): If `text_problem` finds one, or the tokenizer fails.
    """
    if problem := text_problem(nlp, text):
        raise TokenizingError(problem)
    try:
        return nlp.make_doc(text)
    except Exception as error:  # tokenizers may raise anything
        reason = f"tokenizer: {type(error).__name__}: {error}"
        raise TokenizingError(reason) from error
