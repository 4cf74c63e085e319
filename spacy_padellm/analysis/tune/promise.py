"""Thresholds that promise a recall or a precision on new texts.

Learn then test (Angelopoulos et al., 2021): thresholds are tested one after the other,
most of them only if the one before passed, so that the promise needs no correction for
their number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spacy_padellm.analysis.tune.bound import ErrorRate, times_needed
from spacy_padellm.analysis.tune.mention_table import FINE_GRID, MentionTable, Rates
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus
from spacy_padellm.mention.calibration import Measure, Promise

CONFIDENCE = 0.9
# precision is tested downwards from where these shares of the mentions are kept: at the
# highest thresholds, too few are left for any test
STARTS = (0.2, 0.4, 0.6, 0.8)
ALL = "all labels"
_RATES = [step / 100 for step in range(99, 9, -1)]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a promise cannot be made.

    reached (float): The best rate where tests start, in the worst corpus; 0 if nothing
        was found.
    provable (float | None): The highest rate that can be promised.
    corpus (int): The corpus that needs the most Docs.
    docs (int | None): About how many Docs it needs; None if no number would do.
    """

    reached: float
    provable: float | None
    corpus: int
    docs: int | None


@dataclass(frozen=True, slots=True)
class PromiseTest:
    """The test of a promise, for one label or for all together.

    name (str): The label, or "all labels".
    labels (Sequence[str]): The labels.
    rate (float): The promised rate.
    threshold (float | None): The threshold that keeps it: for recall the highest one,
        for precision the lowest.
    rates (Sequence[Rates]): What was measured there, for each corpus.
    shortfall (Shortfall | None): Why there is no threshold.
    """

    name: str
    labels: Sequence[str]
    rate: float
    threshold: float | None
    rates: Sequence[Rates]
    shortfall: Shortfall | None


def check_promise(
    corpora: Sequence[CandidateCorpus],
    measure: Measure,
    rate: float | Mapping[str, float],
    *,
    labels: Sequence[str],
    confidence: float = CONFIDENCE,
) -> list[PromiseTest]:
    """Find the thresholds that keep a promise on texts like those of each corpus.

    The promise is about as many new texts as a corpus has: recall and precision of few
    texts vary more than those of many.

    corpora (Sequence[CandidateCorpus]): The corpora, with calibrated scores.
    measure (Measure): What is promised.
    rate (float | Mapping[str, float]): Its lowest value, in 0..1: of all labels
        together, or of each label.
    labels (Sequence[str]): The labels with gold mentions.
    confidence (float): The probability that all these promises are kept.
    RETURNS (list[PromiseTest]): One for all labels, or one for each label.
    """
    if not isinstance(rate, Mapping):
        return [_check(corpora, measure, rate, ALL, labels, level=1 - confidence)]
    level = (1 - confidence) / len(rate)
    return [
        _check(corpora, measure, value, label, [label], level=level)
        for label, value in rate.items()
    ]


def make_promise(
    tested: Sequence[PromiseTest],
    measure: Measure,
    rate: float | Mapping[str, float],
    *,
    confidence: float = CONFIDENCE,
) -> Promise:
    """Make the promise whose tests all found a threshold.

    tested (Sequence[PromiseTest]): The result of `check_promise`.
    measure, rate, confidence: See `check_promise`.
    """
    thresholds = {
        label: result.threshold
        for result in tested
        for label in result.labels
        if result.threshold is not None
    }
    return Promise(measure, rate, confidence, thresholds)


def _check(
    corpora: Sequence[CandidateCorpus],
    measure: Measure,
    rate: float,
    name: str,
    labels: Sequence[str],
    *,
    level: float,
) -> PromiseTest:
    tables = [MentionTable.of(corpus, labels) for corpus in corpora]
    path = ThresholdPath.of(tables, measure, level=level)
    threshold = path.threshold(rate)
    if threshold is None:
        docs = [len(table.gold) for table in tables]
        return PromiseTest(name, labels, rate, None, [], path.shortfall(rate, docs))
    rates = [table.rates(threshold) for table in tables]
    return PromiseTest(name, labels, rate, threshold, rates, None)


@dataclass(frozen=True, slots=True)
class ThresholdPath:
    """The thresholds of the grid in the order in which they are tested.

    order (Sequence[int]): Their indexes in the grid.
    levels (Mapping[int, float]): The share of the level that is spent from an index on.
    errors (Sequence[Sequence[ErrorRate] | None]): For each corpus, the error rate from
        each threshold of the grid on; None if it has no gold mentions.
    """

    order: Sequence[int]
    levels: Mapping[int, float]
    errors: Sequence[Sequence[ErrorRate] | None]

    @classmethod
    def of(
        cls, tables: Sequence[MentionTable], measure: Measure, *, level: float
    ) -> ThresholdPath:
        """The path of corpora whose scores are calibrated.

        tables (Sequence[MentionTable]): Their mentions.
        measure (Measure): What is promised.
        level (float): The probability that the promise is not kept.
        """
        # a corpus that does not annotate the labels says nothing about them
        errors = [t.errors(measure) if t.gold.any() else None for t in tables]
        if measure == "recall":
            return cls(range(len(FINE_GRID)), {0: level}, errors)
        kept = np.sum([table.kept for table in tables], axis=0)
        order = range(len(FINE_GRID) - 1, -1, -1)
        levels = dict.fromkeys(order, 0.0)
        for share in STARTS:
            start = next((i for i in order if kept[i] >= share * kept[0]), 0)
            levels[start] += level / len(STARTS)
        return cls(order, levels, errors)

    def threshold(self, rate: float) -> float | None:
        """The last threshold that passes; None if there is none.

        rate (float): The promised rate, in 0..1.
        """
        passed, level = None, 0.0
        for index in self.order:
            # what an index may spend passes on to the next one if it passes
            level += self.levels.get(index, 0.0)
            if level and self._p_value(index, rate) <= level:
                passed = FINE_GRID[index]
            else:
                level = 0.0
        return passed

    def _p_value(self, index: int, rate: float) -> float:
        """The p-value of the corpus that is least likely to keep the rate."""
        values = [e[index].p_value(1 - rate) for e in self.errors if e is not None]
        return max(values, default=1.0)

    def shortfall(self, rate: float, docs: Sequence[int]) -> Shortfall:
        """Why no threshold keeps a rate.

        rate (float): The promised rate, in 0..1.
        docs (Sequence[int]): The number of Docs of each corpus.
        """
        # the others are only tested after one of these passed
        starts = {index: level for index, level in self.levels.items() if level}
        needs = [self._needs(i, rate, docs, level) for i, level in starts.items()]
        times, corpus = min(needs)
        needed_docs = math.ceil(times * docs[corpus]) if math.isfinite(times) else None
        rates = (
            min(1 - e[index].rate for e in self.errors if e is not None)
            for index in starts
            if all(e is None or e[index].size for e in self.errors)
        )
        reached = max(rates, default=0.0)
        provable = next((r for r in _RATES if self.threshold(r) is not None), None)
        return Shortfall(reached, provable, corpus, needed_docs)

    def _needs(
        self, index: int, rate: float, docs: Sequence[int], level: float
    ) -> tuple[float, int]:
        """The factor by which a corpus must grow, and the corpus that needs most."""
        return max(
            (times_needed(e[index], 1 - rate, level=level), corpus)
            for corpus, e in enumerate(self.errors)
            if e is not None
        )
