"""The languages of spaCy: their tokenizers, and how they join tokens."""

from __future__ import annotations

import spacy
from spacy.language import Language

from spacy_padellm.corpora.records import ConversionError
from spacy_padellm.errors import Errors

WITHOUT_SPACES = {"zh", "ja", "th", "bo"}


def joiner_of(lang: str) -> str:
    """The separator of tokens, in files that do not contain the text.

    lang (str): The code of a language.
    RETURNS (str): " ", or "" if the language has no spaces between words.
    """
    return "" if lang in WITHOUT_SPACES else " "


def blank_pipeline(lang: str) -> Language:
    """Make a pipeline that holds a tokenizer alone.

    lang (str): The code of a language.
    RETURNS (Language): The pipeline.
    RAISES (ConversionError): If spaCy lacks the language, or a package that the
        tokenizer needs is missing.
    """
    try:
        return spacy.blank(lang)
    except (ImportError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        message = Errors.P203.format(lang=lang, error=reason.rstrip("."))
        raise ConversionError(message) from error
