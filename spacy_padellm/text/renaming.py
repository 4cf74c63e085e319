"""Other names for the labels of a corpus, as users give them to commands."""

from __future__ import annotations

from spacy_padellm.errors import Errors


class RenamingError(ValueError):
    """The option cannot be read; the message says what to do."""


def parse_renaming(option: str) -> dict[str, str]:
    """Parse the label renamings.

    option (str): Comma-separated pairs `old=new`.
    RETURNS (dict[str, str]): Old name of a label -> its new name.
    RAISES (RenamingError): If a pair is incomplete, or a label gets two names.
    """
    names: dict[str, str] = {}
    for pair in filter(None, option.split(",")):
        old, _, new = (part.strip() for part in pair.partition("="))
        if not old or not new:
            raise RenamingError(Errors.P195.format(pair=pair))
        if names.setdefault(old, new) != new:
            message = Errors.P905.format(label=old, first=names[old], second=new)
            raise RenamingError(message)
    return names
