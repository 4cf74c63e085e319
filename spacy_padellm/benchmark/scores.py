"""The scores of the models and peers of a run."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from spacy_padellm.benchmark.decoders import BATCH
from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.settings import BenchmarkSettings
from spacy_padellm.benchmark.subjects.subjects import Subject, share_equal, string_f1
from spacy_padellm.mention.gold import GoldText


def add_scores(
    results: dict[str, Measurement],
    settings: BenchmarkSettings,
    *,
    subjects: list[Subject],
    peers: dict[str, Any],
    golds: list[GoldText],
) -> None:
    """Score the trained models and peers.

    results (dict[str, Measurement]): What was measured, by name; gets the scores.
    settings (BenchmarkSettings): The settings of the run.
    subjects (list[Subject]): The models with their decoders.
    peers (dict[str, Language]): spaCy's pipes by name.
    golds (list[GoldText]): The texts.
    """
    docs = None
    if find_spec("spacy"):
        from spacy_padellm.benchmark.subjects.pipelines import gold_docs, score

        # with --labels, the annotation of the corpus is not the gold annotation
        has_docs = settings.gold.suffix == ".spacy" and settings.labels is None
        docs = gold_docs(settings.gold if has_docs else None, golds, lang=settings.lang)
    for subject in [] if settings.forced else subjects:
        for name, result in subject.results(results).items():
            decoder = subject.decoders[name]
            if docs is None:
                result.scores = {"strings_f": string_f1(decoder, golds)}
            else:
                result.scores = score(subject.use(decoder), docs)
            if BATCH in subject.decoders:
                reference = subject.decoders[BATCH]
                result.scores["as_batch"] = share_equal(decoder, reference)
    if docs is not None and settings.train_peers:
        for kind, nlp in peers.items():
            results[f"spaCy {kind}"].scores = score(nlp, docs)
