"""Learn a calibration and a threshold per label on gold Docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.reliability import measure_reliability
from spacy_padellm.analysis.tune.scaling import learn_calibration
from spacy_padellm.decoding.tree.decoder import DEFAULT_THRESHOLD
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.mention.dedup import choose_flat
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.document_memory import remember

COARSE_GRID = [step / 20 for step in range(20)]
ROUNDS = 3  # over all labels; few thresholds change after the first


@dataclass(frozen=True, slots=True)
class Candidates:
    """The mentions of a gold Doc and all predictions for it.

    gold (frozenset[GoldMention]): The gold mentions, with character offsets.
    found (Sequence[ScoredSpan]): The predictions of a pipe without thresholds.
    text (str | None): The Doc's text, if the pipe has a document memory and a name was
        predicted twice; else None. Thresholds decide what is remembered.
    """

    gold: frozenset[GoldMention]
    found: Sequence[ScoredSpan]
    text: str | None = None


@dataclass(slots=True)
class CandidateCorpus:
    """The candidates of a corpus.

    texts (Sequence[Candidates]): The candidates of each Doc.
    nested (bool): Whether gold mentions overlap. If not, only predictions that do not
        overlap are scored, as in `doc.ents`.
    """

    texts: Sequence[Candidates]
    nested: bool

    def f_score(self, thresholds: Mapping[str, float]) -> float:
        """Compute the span F1 of the mentions at or above the thresholds, in 0..1.

        thresholds (Mapping[str, float]): Label -> threshold.
        """
        return _f1(list(self.judged(thresholds)), self.golds)

    @property
    def golds(self) -> int:
        """The number of gold mentions."""
        return sum(len(text.gold) for text in self.texts)

    def judged(self, thresholds: Mapping[str, float]) -> Iterator[tuple[float, bool]]:
        """Yield each mention at or above its threshold.

        thresholds (Mapping[str, float]): Label -> threshold.
        YIELDS (tuple[float, bool]): Its score, and whether it is a gold mention.
        """
        for text, spans in self.kept(thresholds):
            for s in spans:
                yield s.score, GoldMention(s.start, s.end, s.label) in text.gold

    def kept(
        self, thresholds: Mapping[str, float]
    ) -> Iterator[tuple[Candidates, list[ScoredSpan]]]:
        """Yield the texts with the mentions that a pipe with thresholds would write.

        thresholds (Mapping[str, float]): Label -> threshold.
        """

        def lowest_score(label: str) -> float:
            return thresholds.get(label, 0.0)

        for text in self.texts:
            found = text.found
            if text.text is not None:
                found = remember(text.text, found, lowest_score)
            spans = [s for s in found if s.score >= lowest_score(s.label)]
            yield text, spans if self.nested else choose_flat(spans)

    def rescored(self, calibration: Calibration) -> CandidateCorpus:
        """Make a copy with calibrated scores."""
        texts = [
            replace(
                text,
                found=[replace(s, score=calibration(s.score)) for s in text.found],
            )
            for text in self.texts
        ]
        return CandidateCorpus(texts, self.nested)

    def half(self, first: int) -> CandidateCorpus:
        """Take every second text, starting at index 0 or 1."""
        return CandidateCorpus(self.texts[first::2], self.nested)


def learn_thresholds(
    corpora: Sequence[CandidateCorpus], labels: Sequence[str]
) -> dict[str, float]:
    """Find the thresholds with the best mean span F1 over the corpora.

    Coordinate ascent: the threshold of one label is chosen while those of the others
    are fixed. On a tie the threshold next to the default of `TreeDecoder` is chosen:
    else all mentions would count after data without errors.

    corpora (Sequence[CandidateCorpus]): The corpora, each with the same weight.
    labels (Sequence[str]): The labels.
    RETURNS (dict[str, float]): Label -> threshold, in steps of 0.05.
    """
    thresholds = dict.fromkeys(labels, 0.0)
    for _ in range(ROUNDS):
        before = dict(thresholds)
        for label in labels:
            scores = {t: mean_f(corpora, {**thresholds, label: t}) for t in COARSE_GRID}
            best = max(scores.values())
            ties = [t for t in COARSE_GRID if scores[t] == best]
            thresholds[label] = min(ties, key=lambda t: abs(t - DEFAULT_THRESHOLD))
        if thresholds == before:
            break
    return thresholds


def mean_f(
    corpora: Sequence[CandidateCorpus], thresholds: Mapping[str, float]
) -> float:
    """Compute the mean span F1 over corpora, in 0..1.

    corpora (Sequence[CandidateCorpus]): The corpora, each with the same weight.
    thresholds (Mapping[str, float]): Label -> threshold.
    """
    return sum(corpus.f_score(thresholds) for corpus in corpora) / len(corpora)


@dataclass(frozen=True, slots=True)
class TuningScores:
    """The scores of a tuning on a corpus.

    span_f (float): Span F1, in 0..1.
    calibration_error (float): The expected calibration error of the mentions at or
        above the thresholds, in 0..1; 0 if there are none.
    """

    span_f: float
    calibration_error: float


def tune(corpora: Sequence[CandidateCorpus], labels: Sequence[str]) -> Tuning:
    """Learn a calibration, and then thresholds for the calibrated scores.

    corpora (Sequence[CandidateCorpus]): The corpora, each with the same weight.
    labels (Sequence[str]): The labels; labels without gold mentions get no threshold.
    """
    gold = {m.label for corpus in corpora for text in corpus.texts for m in text.gold}
    labels = [label for label in labels if label in gold]
    calibration = learn_calibration([list(corpus.judged({})) for corpus in corpora])
    rescored = [corpus.rescored(calibration) for corpus in corpora]
    return Tuning(learn_thresholds(rescored, labels), calibration)


def evaluate_tuning(corpus: CandidateCorpus, tuning: Tuning) -> TuningScores:
    """Score a tuning on a corpus.

    corpus (CandidateCorpus): The corpus.
    tuning (Tuning): The tuning.
    """
    return _evaluate([(corpus, tuning)])


def cross_fit(
    corpora: Sequence[CandidateCorpus],
    labels: Sequence[str],
    *,
    default_threshold: float,
) -> list[TuningScores | None]:
    """Estimate the scores of a tuning on unseen texts.

    Each half of the texts is scored with the tuning learnt on the other half.

    corpora, labels: See `tune`.
    default_threshold (float): The threshold of labels without gold mentions in the
        other half: that of the pipe's decoder.
    RETURNS (list[TuningScores | None]): For each corpus, the scores of both halves
        together; None if it has a single text.
    """
    halves = []
    for part in (0, 1):
        tuning = tune([corpus.half(1 - part) for corpus in corpora], labels)
        thresholds = {**dict.fromkeys(labels, default_threshold), **tuning.thresholds}
        halves.append(replace(tuning, thresholds=thresholds))
    return [
        _evaluate([(corpus.half(part), tuning) for part, tuning in enumerate(halves)])
        if len(corpus.texts) > 1
        else None
        for corpus in corpora
    ]


def _evaluate(parts: Sequence[tuple[CandidateCorpus, Tuning]]) -> TuningScores:
    """Score the parts of a corpus together, each with a tuning of its own."""
    judged: list[tuple[float, bool]] = []
    for corpus, tuning in parts:
        judged += corpus.rescored(tuning.calibration).judged(tuning.thresholds)
    error = measure_reliability(judged).error
    return TuningScores(_f1(judged, sum(c.golds for c, _ in parts)), error or 0.0)


def _f1(judged: Sequence[tuple[float, bool]], golds: int) -> float:
    both = golds + len(judged)
    return 2 * sum(right for _, right in judged) / both if both else 0.0
