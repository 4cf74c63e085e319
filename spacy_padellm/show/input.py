"""The texts to show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy.language import Language

from spacy_padellm.checks import check_path
from spacy_padellm.corpora.files import plain_name, read_text
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.errors import Errors
from spacy_padellm.suggest.texts import SourceText, check_texts, read_texts
from spacy_padellm.text.tokenizing import text_problem

_OF_MANY = (".jsonl", ".json", ".spacy")
_SUFFIXES = (*_OF_MANY, ".txt")


def read_input(argument: str, *, nlp: Language) -> Iterator[SourceText | BadLine]:
    """Read a text, or the texts of a file.

    argument (str): A text, or the path of a file: .spacy, JSON or JSON lines with the
        key "text", or else one text.
    nlp (Language): The pipeline that shall annotate them.
    YIELDS (SourceText | BadLine): The texts.
    RAISES (ConversionError): If the file cannot be read.
    """
    path = _file(argument)
    if path is None:
        if argument.strip():
            yield SourceText(argument)
    elif plain_name(path).suffix.lower() in _OF_MANY:
        yield from read_texts(path, nlp=nlp, text_column="text")
    else:
        check_texts(path)
        content = read_text(path).removeprefix("\ufeff")
        if problem := text_problem(nlp, content):
            yield BadLine(path, 0, problem)
        elif content.strip():
            yield SourceText(content)


def _file(argument: str) -> Path | None:
    """The file with this name; None if it is a text and not the name of a file."""
    try:
        path = Path(argument)
        check_path(path)
        if path.is_file():
            return path
        is_folder, exists = path.is_dir(), path.exists()
    except PermissionError as error:
        raise ConversionError(Errors.P207.format(path=path, reason=error)) from error
    except (OSError, ValueError):  # a long text is not a name
        return None
    if is_folder and argument.strip():
        raise ConversionError(Errors.P726.format(path=path))
    if exists and not is_folder:
        raise ConversionError(Errors.P426.format(path=path))
    if not argument.split()[1:] and plain_name(path).suffix.lower() in _SUFFIXES:
        raise ConversionError(Errors.P201.format(path=path))
    return None
