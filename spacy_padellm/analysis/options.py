"""The options of an analysis, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.errors import Errors


class AnalysisError(ValueError):
    """The analysis cannot run; the message says what to do."""


def parse_labels(option: str | None, known: Sequence[str]) -> list[str]:
    """Parse the list of labels to analyse.

    option (str | None): Comma-separated labels; None for all.
    known (Sequence[str]): The labels of the pipe.
    RETURNS (list[str]): The labels, in the order of the pipe.
    RAISES (AnalysisError): If a label is unknown.
    """
    if option is None:
        return list(known)
    labels = {label.strip() for label in option.split(",") if label.strip()}
    if not labels or not labels <= set(known):
        message = Errors.P194.format(given=option, known=", ".join(known))
        raise AnalysisError(message)
    return [label for label in known if label in labels]


def parse_names(option: str) -> dict[str, str]:
    """Parse the label renamings.

    option (str): Comma-separated pairs `old=new`.
    RETURNS (dict[str, str]): Label of the corpus -> label of the pipe.
    RAISES (AnalysisError): If a pair is incomplete.
    """
    names = {}
    for pair in filter(None, option.split(",")):
        old, _, new = (part.strip() for part in pair.partition("="))
        if not old or not new:
            raise AnalysisError(Errors.P195.format(pair=pair))
        names[old] = new
    return names
