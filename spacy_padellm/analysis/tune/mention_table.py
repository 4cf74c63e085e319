"""The mentions of a corpus as arrays, counted from thresholds on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.tune.bound import ErrorRate, measure_errors
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus
from spacy_padellm.mention.calibration import Measure

# the thresholds that are tried
FINE_GRID = [0.0, 0.001, 0.002, 0.005, *(step / 100 for step in range(1, 100))]


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured of the mentions from a threshold on, in 0..1 each."""

    recall: float
    precision: float


@dataclass(frozen=True)
class MentionTable:
    """The mentions of some labels in a corpus, as arrays.

    gold (int64, (docs,)): The number of gold mentions of each Doc.
    docs (int64, (mentions,)): The Doc of each predicted mention.
    scores (float64, (mentions,)): Its score.
    right (bool, (mentions,)): Whether it is correct.
    """

    gold: npt.NDArray[np.int64]
    docs: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, corpus: CandidateCorpus, labels: Sequence[str]) -> MentionTable:
        """Make the table of a corpus.

        corpus (CandidateCorpus): The corpus, with calibrated scores.
        labels (Sequence[str]): The labels whose mentions are in the table.
        """
        counted = set(labels)
        gold = [sum(m.label in counted for m in text.gold) for text in corpus.texts]
        found = [
            (doc, s.score, GoldMention(s.start, s.end, s.label) in text.gold)
            for doc, text in enumerate(corpus.texts)
            for s in text.found
            if s.label in counted
        ]
        docs, scores, right = zip(*found, strict=True) if found else ((), (), ())
        return cls(
            np.array(gold, dtype=np.int64),
            np.array(docs, dtype=np.int64),
            np.array(scores, dtype=np.float64),
            np.array(right, dtype=np.bool_),
        )

    def _counts(
        self, threshold: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The predicted and the correct mentions from a threshold on, by Doc."""
        kept = self.scores >= threshold
        size = len(self.gold)
        found = np.bincount(self.docs[kept], minlength=size)
        return found, np.bincount(self.docs[kept & self.right], minlength=size)

    def rates(self, threshold: float) -> Rates:
        """Recall and precision of the mentions from a threshold on.

        threshold (float): The lowest score, in 0..1.
        """
        found, right = self._counts(threshold)
        return Rates(
            float(right.sum() / max(self.gold.sum(), 1)),
            float(right.sum() / max(found.sum(), 1)),
        )

    def errors(self, measure: Measure) -> list[ErrorRate]:
        """The error rate from each threshold of the grid on.

        measure (Measure): For recall, missed gold mentions are errors; for precision,
            wrong predicted ones.
        """
        rates = []
        for threshold in FINE_GRID:
            found, right = self._counts(threshold)
            mentions = self.gold if measure == "recall" else found
            rates.append(measure_errors(mentions - right, mentions))
        return rates

    @cached_property
    def kept(self) -> list[int]:
        """The number of mentions from each threshold of the grid on."""
        return [int(np.count_nonzero(self.scores >= t)) for t in FINE_GRID]
