"""Analyse a pipe on a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spacy.language import Language

from spacy_padellm.analysis.analyze.examples import ErrorExamples
from spacy_padellm.analysis.analyze.tally import Analysis
from spacy_padellm.analysis.collect import FailedDoc, collect_docs
from spacy_padellm.analysis.inputs import GoldDoc
from spacy_padellm.analysis.kinds import judge
from spacy_padellm.analysis.options import AnalysisError
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.pipe import PaDeLLMNER

EXAMPLES_PER_KIND = 4


@dataclass(slots=True)
class AnalysisResult:
    """The result of an analysis.

    analysis (Analysis): The totals, of the labels that the gold Docs or the
        predictions have.
    examples (ErrorExamples): Examples of errors.
    texts (int): The number of texts analysed.
    cut (int): The number of gold mentions that are in no window completely.
    failed (list[FailedDoc]): Texts that could not be decoded.
    """

    analysis: Analysis
    examples: ErrorExamples
    texts: int = 0
    cut: int = 0
    failed: list[FailedDoc] = field(default_factory=list)


def analyse(
    nlp: Language,
    pipe: PaDeLLMNER,
    golds: Iterable[GoldDoc],
    *,
    labels: Sequence[str],
) -> AnalysisResult:
    """Compare the predictions of a pipe with gold Docs.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): The component of the pipeline.
    golds (Iterable[GoldDoc]): The gold Docs; their mentions only have labels in
        `labels`.
    labels (Sequence[str]): The labels to analyse.
    RAISES (AnalysisError): If no text can be decoded.
    """
    result = AnalysisResult(Analysis.of(labels), ErrorExamples(EXAMPLES_PER_KIND))
    for doc in collect_docs(nlp, pipe, golds, labels=labels):
        if isinstance(doc, FailedDoc):
            result.failed.append(doc)
            continue
        result.texts += 1
        result.cut += doc.cut
        for case in doc.windows:
            judgement = judge(case)
            result.analysis.add_window(case, judgement, doc.labels)
            result.examples.add_window(case, judgement, doc.labels)
        for label, score, right in doc.scored:
            result.analysis.add_scored(label, score, right=right)
    if result.failed and not result.texts:
        failed = result.failed
        message = Errors.P196.format(texts=len(failed), error=failed[0].error)
        raise AnalysisError(message)
    result.analysis = result.analysis.without_empty()
    return result
