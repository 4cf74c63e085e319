"""A document's memory: a name that was found in one place counts more in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.normalize import normalize_text


def remember(
    text: str, spans: Sequence[ScoredSpan], lowest_score: Callable[[str], float]
) -> list[ScoredSpan]:
    """Raise the scores of mentions that were too unlikely, if their names were found.

    Such a mention gets the mean of its own score and of the highest score that the same
    string has with the same label in the text. The model reads each window for itself,
    so it may be sure of a name where the text introduces it, and unsure of it later.

    text (str): The Doc's text.
    spans (Sequence[ScoredSpan]): The Doc's mentions, with calibrated scores.
    lowest_score (Callable[[str], float]): Returns the threshold of a label. Mentions
        with a lower score are too unlikely; only others raise their scores.
    RETURNS (list[ScoredSpan]): The mentions, in the same order.
    """
    unlikely = {i for i, s in enumerate(spans) if s.score < lowest_score(s.label)}
    if not 0 < len(unlikely) < len(spans):
        return list(spans)
    highest: dict[tuple[str, str], float] = {}
    for number, span in enumerate(spans):
        if number not in unlikely:
            name = _name_of(text, span)
            highest[name] = max(span.score, highest.get(name, 0.0))
    remembered = list(spans)
    for number in unlikely:
        span = spans[number]
        score = highest.get(_name_of(text, span))
        if score is not None:
            remembered[number] = replace(span, score=(span.score + score) / 2)
    return remembered


def repeats_name(text: str, spans: Sequence[ScoredSpan]) -> bool:
    """Whether there is anything to remember: a name that has one label twice.

    text (str): The Doc's text.
    spans (Sequence[ScoredSpan]): The Doc's mentions.
    """
    return len({_name_of(text, span) for span in spans}) < len(spans)


def _name_of(text: str, span: ScoredSpan) -> tuple[str, str]:
    """The string and the label of a mention; a line break is a space."""
    return normalize_text(text[span.start : span.end]), span.label
