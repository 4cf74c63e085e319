"""A document's memory: a name that was found in one place counts more in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.normalize import normalize_text


def remember(
    text: str,
    spans: Sequence[ScoredSpan],
    lowest_score: Callable[[str], float],
    *,
    dedup: Dedup = "off",
) -> list[ScoredSpan]:
    """Raise the scores of mentions that were too unlikely, if their names were found.

    Such a mention gets the mean of its own score and of the highest score that the same
    string has with the same label in the text. The model reads each window for itself,
    so it may be sure of a name where the text introduces it, and unsure of it later.

    text (str): The Doc's text.
    spans (Sequence[ScoredSpan]): The Doc's mentions, with calibrated scores.
    lowest_score (Callable[[str], float]): Returns the threshold of a label. Mentions
        with a lower score are too unlikely; only others raise their scores.
    dedup (Dedup): With "on", of mentions with the same place only the one that would
        get the highest score is raised: unlikely ones were not compared before.
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
    raised: dict[int, float] = {}
    for number in sorted(unlikely):
        score = highest.get(_name_of(text, spans[number]))
        if score is not None:
            raised[number] = (spans[number].score + score) / 2
    if dedup == "on":
        raised = _best_of_places(raised, spans)
    return [
        replace(span, score=raised[number]) if number in raised else span
        for number, span in enumerate(spans)
    ]


def _best_of_places(
    raised: Mapping[int, float], spans: Sequence[ScoredSpan]
) -> dict[int, float]:
    """Of scores of mentions, by their numbers, the highest of each place; of equal ones
    the first."""
    best: dict[tuple[int, int], int] = {}
    for number, score in raised.items():
        place = spans[number].start, spans[number].end
        if score > raised[best.setdefault(place, number)]:
            best[place] = number
    return {number: raised[number] for number in best.values()}


def repeats_name(text: str, spans: Sequence[ScoredSpan]) -> bool:
    """Whether there is anything to remember: a name that has one label twice.

    text (str): The Doc's text.
    spans (Sequence[ScoredSpan]): The Doc's mentions.
    """
    return len({_name_of(text, span) for span in spans}) < len(spans)


def _name_of(text: str, span: ScoredSpan) -> tuple[str, str]:
    """The string and the label of a mention; a line break is a space."""
    return normalize_text(text[span.start : span.end]), span.label
