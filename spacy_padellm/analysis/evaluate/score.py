"""The scores of a pipe on a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus, Example

from spacy_padellm.analysis.inputs import unannotated_error
from spacy_padellm.analysis.options import AnalysisError
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.progress import count_progress
from spacy_padellm.text.corpus_files import corpus_files, corpus_suffixes
from spacy_padellm.text.labels import get_doc_labels
from spacy_padellm.text.spans import gold_spans
from spacy_padellm.text.stream import STREAM_FROM


def score_corpus(nlp: Language, pipe: PaDeLLMNER, path: Path) -> dict[str, Any]:
    """Annotate the texts of a corpus, and score a component.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its component.
    path (Path): A `.spacy` file, or a folder of them.
    RETURNS (dict[str, Any]): The scores, and as `speed` the words a second of
        annotation, without reading and scoring.
    RAISES (AnalysisError): If the corpus cannot be read, is not annotated, or has other
        labels than the component.
    RAISES (Exception): Any error of the pipeline for a text.
    """
    examples = _read(nlp, path)
    key = pipe.cfg["spans_key"]
    golds = [gold_spans(example.reference, key) for example in examples]
    if all(gold is None for gold in golds):
        references = [example.reference for example in examples]
        raise unannotated_error(path, references, key)
    labels = {span.label_ for gold in golds for span in gold or ()}
    if labels and not labels.intersection(pipe.labels):
        known = ", ".join(pipe.labels)
        raise AnalysisError(Errors.P264.format(path=path, known=known))
    start = time.perf_counter()
    docs = nlp.pipe((eg.predicted for eg in examples), batch_size=STREAM_FROM)
    counted = count_progress(docs, len(examples))
    for example, doc in zip(examples, counted, strict=True):
        example.predicted = doc
    seconds = time.perf_counter() - start
    found = {
        ent.label_
        for example, gold in zip(examples, golds, strict=True)
        if gold is not None
        for ent in example.predicted.ents
        if _is_scored(ent.label_, example.reference)
    }
    if unknown := sorted(found - labels):
        logger.warning(Warnings.W975.format(path=path, labels=", ".join(unknown)))
    words = sum(len(example.predicted) for example in examples)
    return {**pipe.score(examples), "speed": words / seconds}


def _is_scored(label: str, gold: Doc) -> bool:
    """Whether mentions of a label are scored: a gold Doc may have labels of its own."""
    own = get_doc_labels(gold)
    return own is None or label in dict(own)


def gold_files(path: Path) -> list[Path]:
    """The files that are read of a corpus.

    path (Path): A `.spacy` file, or a folder of them.
    RAISES (AnalysisError): If a folder in it cannot be read.
    """
    try:
        return [file for file in corpus_files(path) if file.suffix == ".spacy"]
    except OSError as error:
        raise AnalysisError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error


def _read(nlp: Language, path: Path) -> list[Example]:
    try:
        found = corpus_suffixes(path)
        examples = list(Corpus(path)(nlp)) if ".spacy" in found else []
    except Exception as error:  # a broken file can raise errors of many libraries
        raise AnalysisError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error
    if ".spacy" not in found:
        raise AnalysisError(Errors.P724.format(path=path))
    return examples
