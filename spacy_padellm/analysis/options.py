"""The options of an analysis, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spacy_padellm.errors import Errors
from spacy_padellm.mention.calibration import Measure


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
        message = Errors.P194.format(labels=option, known=", ".join(known))
        raise AnalysisError(message)
    return [label for label in known if label in labels]


@dataclass(frozen=True, slots=True)
class PromiseRequest:
    """What is to be promised.

    measure (Measure): Recall or precision.
    rate (float | dict[str, float]): Its lowest value, above 0 and below 1: of all
        labels together, or of each label.
    """

    measure: Measure
    rate: float | dict[str, float]


def parse_promise(
    recall: str | None, precision: str | None, known: Sequence[str]
) -> PromiseRequest | None:
    """Parse the rates to promise.

    recall, precision (str | None): A number, or comma-separated pairs `LABEL=number`.
    known (Sequence[str]): The labels of the pipe.
    RETURNS (PromiseRequest | None): None if nothing is to be promised.
    RAISES (AnalysisError): If both are given, or one is malformed, not between 0 and 1,
        or about an unknown label.
    """
    if recall is not None and precision is not None:
        raise AnalysisError(Errors.P221)
    if recall is not None:
        return PromiseRequest("recall", _parse_rate(recall, "recall", known))
    if precision is not None:
        return PromiseRequest("precision", _parse_rate(precision, "precision", known))
    return None


def _parse_rate(
    text: str, option: str, known: Sequence[str]
) -> float | dict[str, float]:
    """Parse the rate of all labels together, or of each."""
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    try:
        rates = {label.strip(): float(value) for label, _, value in pairs}
    except ValueError:
        rates = {}
    is_overall = rates.keys() == {""}
    fits = len(rates) == len(pairs) and (is_overall or rates.keys() <= set(known))
    if not rates or not fits or not all(0 < rate < 1 for rate in rates.values()):
        message = Errors.P220.format(
            option=option, value=text, example=known[0], known=", ".join(known)
        )
        raise AnalysisError(message)
    return rates[""] if is_overall else rates
