"""All spans that a pipe predicts in gold Docs without thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.analysis.inputs import GoldCorpus
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.tune.thresholds import CandidateCorpus, Candidates
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.pipeline.tuned import tuned
from spacy_padellm.progress import count_progress
from spacy_padellm.text.document_memory import repeats_name
from spacy_padellm.text.stream import STREAM_FROM


def find_candidates(
    nlp: Language, pipe: PaDeLLMNER, gold: GoldCorpus
) -> CandidateCorpus:
    """Run a pipeline over a gold corpus, without thresholds or calibration.

    Predictions with labels that the corpus or the text does not annotate are dropped.
    Without thresholds, unlikely mentions take part in de-duplication, too.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): The component of the pipeline.
    gold (GoldCorpus): The gold Docs.
    RETURNS (CandidateCorpus): The predicted and gold mentions of each Doc.
    RAISES (Exception): Any error that the pipe raises for a text.
    """
    labels = {mention.label for doc in gold.docs for mention in doc.mentions}
    docs = count_progress(
        nlp.pipe((doc.text for doc in gold.docs), batch_size=STREAM_FROM),
        len(gold.docs),
    )
    texts = []
    with tuned(pipe, Tuning(), threshold=0.0):
        for doc, predicted in zip(gold.docs, docs, strict=True):
            found = [
                span
                for span in _predicted_spans(predicted, pipe)
                if span.label in labels and doc.annotates(span.label)
            ]
            remembers = pipe.cfg["document_memory"] and repeats_name(
                predicted.text, found
            )
            text = predicted.text if remembers else None
            texts.append(Candidates(frozenset(doc.mentions), found, text))
    return CandidateCorpus(texts, any(_overlap(doc.mentions) for doc in gold.docs))


def _predicted_spans(doc: Doc, pipe: PaDeLLMNER) -> list[ScoredSpan]:
    attrs = doc.spans[pipe.cfg["spans_key"]].attrs
    found = zip(attrs["places"], attrs["scores"], attrs["statuses"], strict=True)
    return [
        ScoredSpan(start, end, label, float(score), status)
        for (start, end, label), score, status in found
    ]


def _overlap(mentions: Sequence[GoldMention]) -> bool:
    ordered = sorted(replace(mention, label="") for mention in mentions)
    return any(b.start < a.end for a, b in pairwise(ordered))
