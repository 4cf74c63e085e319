"""What the user asks of an analysis, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.errors import Errors


class AnalysisError(ValueError):
    """Nothing can be analysed; the message tells the user what to do."""


def parse_labels(given: str | None, known: Sequence[str]) -> list[str]:
    """The labels to analyse.

    given (str | None): Comma-separated; None for all.
    known (Sequence[str]): The labels of the pipe.
    RAISES (AnalysisError): If one is not known.
    """
    if given is None:
        return list(known)
    labels = {label.strip() for label in given.split(",") if label.strip()}
    if not labels or not labels <= set(known):
        message = Errors.P194.format(given=given, known=", ".join(known))
        raise AnalysisError(message)
    return [label for label in known if label in labels]


def parse_names(given: str) -> dict[str, str]:
    """Label of the corpus -> label of the pipe.

    given (str): `old=new`, comma-separated.
    RAISES (AnalysisError): If a pair is incomplete.
    """
    names = {}
    for pair in filter(None, given.split(",")):
        old, _, new = (part.strip() for part in pair.partition("="))
        if not old or not new:
            raise AnalysisError(Errors.P195.format(pair=pair))
        names[old] = new
    return names
