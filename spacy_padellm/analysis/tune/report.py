"""The tuning of a model's scores, with figures before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language

from spacy_padellm.analysis.inputs import GoldCorpus
from spacy_padellm.analysis.options import PromiseRequest
from spacy_padellm.analysis.tune.candidates import find_candidates
from spacy_padellm.analysis.tune.mention_table import Rates
from spacy_padellm.analysis.tune.promise_report import PromiseRow, add_promise
from spacy_padellm.analysis.tune.thresholds import (
    CandidateCorpus,
    TuningScores,
    cross_fit,
    evaluate_tuning,
    tune,
)
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.pipeline.pipe import PaDeLLMNER

_MEASURES = (("Span F1", "span_f"), ("Calibration error", "calibration_error"))

Table = tuple[Sequence[str], list[Any]]  # header, rows


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The tuning of a pipe, and what it was learnt from.

    paths (Sequence[Path]): The files of the corpora.
    corpora (Sequence[CandidateCorpus]): The corpora, with the pipe's candidates.
    labels (Sequence[str]): The labels of the pipe.
    default_threshold (float): That of the pipe's decoder.
    before (Tuning): The pipe's thresholds and calibration before.
    tuning (Tuning): Those that were learnt, with the promise.
    requested (PromiseRequest | None): What was to be promised.
    promise_rows (Sequence[PromiseRow]): What the promise costs.
    """

    paths: Sequence[Path]
    corpora: Sequence[CandidateCorpus]
    labels: Sequence[str]
    default_threshold: float
    before: Tuning
    tuning: Tuning
    requested: PromiseRequest | None
    promise_rows: Sequence[PromiseRow]


def tune_pipe(
    nlp: Language,
    pipe: PaDeLLMNER,
    golds: Sequence[GoldCorpus],
    *,
    paths: Sequence[Path],
    requested: PromiseRequest | None,
) -> TuneResult:
    """Learn the tuning of a pipe, which keeps its own.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its pipe.
    golds (Sequence[GoldCorpus]): The annotated corpora.
    paths (Sequence[Path]): Their files.
    requested (PromiseRequest | None): What is to be promised.
    RAISES (AnalysisError): If the promise cannot be made.
    """
    labels = pipe.labels
    before = Tuning({k: pipe.lowest_score(k) for k in labels}, pipe.calibration)
    corpora = [find_candidates(nlp, pipe, gold) for gold in golds]
    tuning = tune(corpora, labels)
    rows: list[PromiseRow] = []
    if requested is not None:
        tuning, rows = add_promise(
            tuning, requested, corpora, paths, component=pipe.name
        )
    return TuneResult(
        paths=paths,
        corpora=corpora,
        labels=labels,
        default_threshold=pipe.decoder.default_threshold,
        before=before,
        tuning=tuning,
        requested=requested,
        promise_rows=rows,
    )


def tune_figures(result: TuneResult, *, model: str) -> dict[str, Any]:
    """The figures of a tuning, as JSON; those of unseen texts are None of a single one.

    model (str): The pipeline's name.
    """
    corpora, tuning = result.corpora, result.tuning
    default = result.default_threshold
    stages: dict[str, Sequence[TuningScores | None]] = {
        "before": [evaluate_tuning(corpus, result.before) for corpus in corpora],
        "with": [evaluate_tuning(corpus, tuning) for corpus in corpora],
        "unseen": cross_fit(corpora, result.labels, default_threshold=default),
    }
    figures: dict[str, Any] = {
        "model": model,
        "thresholds": dict(tuning.thresholds),
        "calibration": asdict(tuning.calibration),
    }
    for _, name in _MEASURES:
        figures[name] = {
            str(path): {s: getattr(found[i], name, None) for s, found in stages.items()}
            for i, path in enumerate(result.paths)
        }
    if result.requested is not None:
        measured = [asdict(row) for row in result.promise_rows]
        figures["promise"] = {**asdict(result.requested), "measured": measured}
    return figures


def tune_tables(result: TuneResult, figures: dict[str, Any]) -> Iterator[Table]:
    """The tables to print.

    figures (dict[str, Any]): Those of `tune_figures`.
    YIELDS (tuple[Sequence[str], list]): The header and the rows.
    """
    for title, name in _MEASURES:
        yield (
            (title, "before", "tuned", "on the other half"),
            [
                (path, *("-" if x is None else f"{x:.3f}" for x in values.values()))
                for path, values in figures[name].items()
            ],
        )
    yield ("Label", "Threshold"), list(result.tuning.thresholds.items())
    if result.requested is not None:
        header = (
            f"Promised {result.requested.measure}",
            "Threshold",
            "Recall / precision on",
            "promised",
            "doc.ents",
        )
        yield (
            header,
            [
                (
                    row.name,
                    f"{row.threshold:g}",
                    row.path,
                    _both(row.promised),
                    _both(row.normal),
                )
                for row in result.promise_rows
            ],
        )


def _both(rates: Rates) -> str:
    return f"{rates.recall:.3f} / {rates.precision:.3f}"
