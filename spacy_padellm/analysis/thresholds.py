"""Thresholds by label and a calibration, learnt on gold Docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from spacy_padellm.analysis.calibration import measure_reliability
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.scaling import learn_calibration
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.mention.dedup import choose_flat
from spacy_padellm.mention.mention import ScoredSpan

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
        judged = [right for _, right in self.judged(thresholds)]
        both = sum(len(text.gold) for text in self.texts) + len(judged)
        return 2 * sum(judged) / both if both else 0.0

    def judged(self, thresholds: Mapping[str, float]) -> Iterator[tuple[float, bool]]:
        """The score of each mention over the thresholds, and whether it is right."""
        for text in self.texts:
            spans = [s for s in text.found if s.score >= thresholds.get(s.label, 0.0)]
            for s in spans if self.nested else choose_flat(spans):
                yield s.score, GoldMention(s.start, s.end, s.label) in text.gold

    def rescored(self, calibration: Calibration) -> Corpus:
        """The same candidates with calibrated scores."""
        texts = [
            Candidates(
                text.gold, [replace(s, score=calibration(s.score)) for s in text.found]
            )
            for text in self.texts
        ]
        return Corpus(texts, self.nested)

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


@dataclass(frozen=True, slots=True)
class Worth:
    """What a tuning makes of a corpus.

    span_f (float): Span F1, in 0..1.
    calibration_error (float): Of the mentions over the thresholds, in 0..1; see
        `measure_reliability`. 0 if there are none.
    """

    span_f: float
    calibration_error: float


def tune(corpora: Sequence[Corpus], labels: Sequence[str]) -> Tuning:
    """Learn a calibration, and then thresholds of the calibrated scores.

    corpora (Sequence[Corpus]): The corpora, each with the same weight.
    labels (Sequence[str]): The labels; those that no corpus annotates get no threshold.
    """
    gold = {m.label for corpus in corpora for text in corpus.texts for m in text.gold}
    labels = [label for label in labels if label in gold]
    calibration = learn_calibration([list(corpus.judged({})) for corpus in corpora])
    rescored = [corpus.rescored(calibration) for corpus in corpora]
    return Tuning(learn_thresholds(rescored, labels), calibration)


def worth(corpus: Corpus, tuning: Tuning) -> Worth:
    """What a tuning makes of a corpus."""
    rescored = corpus.rescored(tuning.calibration)
    error = measure_reliability(rescored.judged(tuning.thresholds)).error
    return Worth(rescored.f_score(tuning.thresholds), error or 0.0)


def cross_fit(corpora: Sequence[Corpus], labels: Sequence[str]) -> list[Worth]:
    """What tuning is worth on texts that it was not learnt from.

    Each half of the texts is judged with what was learnt from the other.

    RETURNS (list[Worth]): Of each corpus, the means of its halves.
    """
    halves = []
    for part in (0, 1):
        tuning = tune([corpus.half(1 - part) for corpus in corpora], labels)
        halves.append([worth(corpus.half(part), tuning) for corpus in corpora])
    return [
        Worth(
            (even.span_f + odd.span_f) / 2,
            (even.calibration_error + odd.calibration_error) / 2,
        )
        for even, odd in zip(*halves, strict=True)
    ]
