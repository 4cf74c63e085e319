"""What a promise costs, and why one cannot be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.options import AnalysisError, PromiseRequest
from spacy_padellm.analysis.tune.mention_table import Rates
from spacy_padellm.analysis.tune.promise import (
    CONFIDENCE,
    PromiseTest,
    check_promise,
    make_promise,
)
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus
from spacy_padellm.errors import Errors
from spacy_padellm.mention.calibration import Measure, Tuning


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """What a promise costs in a corpus.

    name (str): The label, or "all labels".
    threshold (float): The threshold of the promise.
    path (str): The corpus' file.
    promised (Rates): Of the mentions of the promise.
    normal (Rates): Of those at or above the normal thresholds.
    """

    name: str
    threshold: float
    path: str
    promised: Rates
    normal: Rates


def measure_rates(
    corpus: CandidateCorpus, thresholds: Mapping[str, float], labels: Sequence[str]
) -> Rates:
    """Recall and precision of the mentions at or above the normal thresholds.

    corpus (CandidateCorpus): The corpus, with calibrated scores.
    thresholds (Mapping[str, float]): Label -> threshold.
    labels (Sequence[str]): The labels to count.
    """
    counted = set(labels)
    right = found = gold = 0
    for text, kept in corpus.kept(thresholds):
        mentions = [
            GoldMention(s.start, s.end, s.label) for s in kept if s.label in counted
        ]
        found += len(mentions)
        right += sum(mention in text.gold for mention in mentions)
        gold += sum(mention.label in counted for mention in text.gold)
    return Rates(right / max(gold, 1), right / max(found, 1))


def add_promise(
    tuning: Tuning,
    requested: PromiseRequest,
    corpora: Sequence[CandidateCorpus],
    paths: Sequence[Path],
    *,
    component: str,
) -> tuple[Tuning, list[PromiseRow]]:
    """Add a promise to a tuning.

    tuning (Tuning): The tuning that was learnt on the corpora.
    requested (PromiseRequest): What is to be promised.
    corpora (Sequence[CandidateCorpus]): The corpora.
    paths (Sequence[Path]): Their files.
    component (str): The component's name, for the error message.
    RETURNS (tuple[Tuning, list[PromiseRow]]): The tuning with the promise, and what it
        costs.
    RAISES (AnalysisError): If it cannot be made. The message says what would help.
    """
    labels = list(tuning.thresholds)  # those with gold mentions
    unknown = (
        set()
        if isinstance(requested.rate, float)
        else requested.rate.keys() - {*labels}
    )
    if unknown:
        names = ", ".join(sorted(unknown))
        raise AnalysisError(Errors.P222.format(labels=names, option=requested.measure))
    rescored = [corpus.rescored(tuning.calibration) for corpus in corpora]
    tested = check_promise(rescored, requested.measure, requested.rate, labels=labels)
    docs = [len(corpus.texts) for corpus in corpora]
    reasons = [
        _refusal(result, requested.measure, paths, docs, component=component)
        for result in tested
        if result.threshold is None
    ]
    if reasons:
        raise AnalysisError("\n".join(reasons))
    promise = make_promise(tested, requested.measure, requested.rate)
    rows = list(_rows(tested, rescored, tuning.thresholds, paths))
    return replace(tuning, promise=promise), rows


def _rows(
    tested: Sequence[PromiseTest],
    corpora: Sequence[CandidateCorpus],
    thresholds: Mapping[str, float],
    paths: Sequence[Path],
) -> Iterator[PromiseRow]:
    for result in tested:
        for corpus, path, rates in zip(corpora, paths, result.rates, strict=True):
            normal = measure_rates(corpus, thresholds, result.labels)
            assert result.threshold is not None
            yield PromiseRow(result.name, result.threshold, str(path), rates, normal)


def _refusal(
    result: PromiseTest,
    measure: Measure,
    paths: Sequence[Path],
    docs: Sequence[int],
    *,
    component: str,
) -> str:
    """Why a promise cannot be made, and what to do."""
    shortfall = result.shortfall
    assert shortfall is not None
    remedy = Errors.P226
    if shortfall.provable is not None:
        remedy = Errors.P225.format(provable=shortfall.provable)
    if shortfall.docs is None:
        more = Errors.P227.format(component=component)
        remedy = f"{remedy} {more if measure == 'recall' else Errors.P833}"
        return Errors.P224.format(
            measure=measure,
            rate=result.rate,
            name=result.name,
            reached=shortfall.reached,
            remedy=remedy,
        )
    missing = max(shortfall.docs - docs[shortfall.corpus], 1)
    return Errors.P223.format(
        measure=measure,
        rate=result.rate,
        name=result.name,
        confidence=f"{CONFIDENCE:.0%}",
        path=paths[shortfall.corpus],
        docs=docs[shortfall.corpus],
        missing=f"{float(f'{missing:.2g}'):,.0f}",
        remedy=remedy,
    )
