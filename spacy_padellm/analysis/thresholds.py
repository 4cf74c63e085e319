"""Thresholds by label, learnt on gold Docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.mentions import ScoredSpan, choose_flat

GRID = [step / 20 for step in range(20)]
ROUNDS = 3  # over all labels; few thresholds move in the second


@dataclass(frozen=True, slots=True)
class Candidates:
    """What was found in a gold Doc, however unlikely.

    gold (frozenset[GoldMention]): Its mentions; places are characters.
    found (Sequence[ScoredSpan]): What a pipe without thresholds found.
    """

    gold: frozenset[GoldMention]
    found: Sequence[ScoredSpan]


@dataclass(slots=True)
class Corpus:
    """The candidates of a corpus.

    texts (Sequence[Candidates]): Of each Doc.
    nested (bool): Whether gold mentions overlap; if not, the flat choice is scored.
    """

    texts: Sequence[Candidates]
    nested: bool

    def f_score(self, thresholds: Mapping[str, float]) -> float:
        """Span F1 of the mentions over the thresholds, in 0..1."""
        right = found = 0
        for text in self.texts:
            spans = [s for s in text.found if s.score >= thresholds.get(s.label, 0.0)]
            if not self.nested:
                spans = choose_flat(spans)
            right += sum(
                GoldMention(s.start, s.end, s.label) in text.gold for s in spans
            )
            found += len(spans)
        gold = sum(len(text.gold) for text in self.texts)
        return 2 * right / (gold + found) if gold + found else 0.0

    def half(self, first: int) -> Corpus:
        """Every second text, from the first or the second on."""
        return Corpus(self.texts[first::2], self.nested)


def learn_thresholds(
    corpora: Sequence[Corpus], labels: Sequence[str]
) -> dict[str, float]:
    """The thresholds with the best mean span F1 over the corpora.

    Labels take turns, each with the other labels' thresholds held; among equals the
    lowest wins.

    corpora (Sequence[Corpus]): The corpora, each with the same weight.
    labels (Sequence[str]): The labels.
    RETURNS (dict[str, float]): Label -> threshold, in steps of 0.05.
    """
    thresholds = dict.fromkeys(labels, 0.0)
    for _ in range(ROUNDS):
        before = dict(thresholds)
        for label in labels:
            scores = {t: mean_f(corpora, {**thresholds, label: t}) for t in GRID}
            thresholds[label] = max(GRID, key=scores.__getitem__)
        if thresholds == before:
            break
    return thresholds


def mean_f(corpora: Sequence[Corpus], thresholds: Mapping[str, float]) -> float:
    """The mean span F1 over corpora, in 0..1."""
    return sum(corpus.f_score(thresholds) for corpus in corpora) / len(corpora)


def cross_fit(corpora: Sequence[Corpus], labels: Sequence[str]) -> list[float]:
    """What the thresholds are worth on texts that they were not learnt from.

    Each half of the texts is scored with the thresholds learnt from the other.

    RETURNS (list[float]): Of each corpus the mean span F1 of its halves, in 0..1.
    """
    totals = [0.0] * len(corpora)
    for part in (0, 1):
        thresholds = learn_thresholds([c.half(1 - part) for c in corpora], labels)
        for i, corpus in enumerate(corpora):
            totals[i] += corpus.half(part).f_score(thresholds) / 2
    return totals
