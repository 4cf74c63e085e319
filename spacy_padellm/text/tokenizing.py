"""Tokenize texts, some of which the tokenizer cannot take."""

from __future__ import annotations

from collections.abc import Callable
from re import Match

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc

from spacy_padellm.checks import has_half_character
from spacy_padellm.errors import Errors

LONGEST_WORD = 10_000  # characters without a blank that are tokenized in any case
# after each affix that is stripped from a word, its rest is searched for the next one
_MOST_AFFIXES = 100
_ENDS = 4_096  # characters at each end where affixes are counted
# after each colon the rest of a word is searched for the end of a URL
_MOST_COLON_STEPS = 10  # colons times characters, in squares of the longest word

_Search = Callable[[str], "Match[str] | None"]


class TokenizingError(ValueError):
    """A text cannot be tokenized; the message is the reason."""


def text_problem(
    nlp: Language, text: str, *, longest_word: int = LONGEST_WORD
) -> str | None:
    """Check that a text can be tokenized in a reasonable time.

    nlp (Language): The pipeline, whose tokenizer is used.
    text (str): The text.
    longest_word (int): Words of more characters are refused if spaCy's own tokenizer
        would take time with the square of their length.
    RETURNS (str | None): What is wrong with it, or None.
    """
    if len(text) > nlp.max_length:
        most = f"spaCy takes at most {nlp.max_length} (nlp.max_length)"
        return f"the text has {len(text)} characters, but {most}"
    if isinstance(nlp.tokenizer, Tokenizer):
        for word in text.split():
            if len(word) > longest_word and _is_slow(word, nlp.tokenizer, longest_word):
                return (
                    f"the text has {len(word)} characters without a blank, which spaCy "
                    "would take long to split"
                )
    return None


def _is_slow(word: str, tokenizer: Tokenizer, longest_word: int) -> bool:
    if len(word) * word.count(":") > _MOST_COLON_STEPS * longest_word**2:
        return True
    return _strips_many(word[:_ENDS], tokenizer.prefix_search, at_start=True) or (
        _strips_many(word[-_ENDS:], tokenizer.suffix_search, at_start=False)
    )


def _strips_many(rest: str, search: _Search | None, *, at_start: bool) -> bool:
    """Whether many affixes are stripped from an end of a word, one after the other."""
    for _ in range(_MOST_AFFIXES):
        found = search(rest) if search else None
        if found is None or found.start() == found.end():
            return False
        rest = rest[found.end() :] if at_start else rest[: found.start()]
    return True


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
        if has_half_character(text):
            raise TokenizingError(Errors.P1022.format(error=error)) from error
        reason = f"tokenizer: {type(error).__name__}: {error}"
        raise TokenizingError(reason) from error
