"""What a pipe finds in gold Docs when nothing is too unlikely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.analysis.inputs import GoldCorpus
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.analysis.thresholds import Candidates, Corpus
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.pipeline.pipe import PaDeLLMNER

BATCH_SIZE = 256


def find_candidates(nlp: Language, pipe: PaDeLLMNER, gold: GoldCorpus) -> Corpus:
    """Run a pipeline over a gold corpus, without thresholds and calibration.

    Labels that the corpus, or a text, does not annotate are left out of what was found.
    The pipe has neither afterwards, and gives all that it finds.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its component.
    gold (GoldCorpus): The gold Docs.
    RAISES (Exception): What the pipe raises of a text that it cannot read.
    """
    labels = {mention.label for doc in gold.docs for mention in doc.mentions}
    pipe.set_tuning(Tuning())
    pipe.cfg["threshold"] = 0.0
    docs = nlp.pipe((doc.text for doc in gold.docs), batch_size=BATCH_SIZE)
    texts = [
        Candidates(
            frozenset(doc.mentions),
            [
                span
                for span in _found(read, pipe)
                if span.label in labels and doc.annotates(span.label)
            ],
        )
        for doc, read in zip(gold.docs, docs, strict=True)
    ]
    return Corpus(texts, any(_overlap(doc.mentions) for doc in gold.docs))


def _found(doc: Doc, pipe: PaDeLLMNER) -> list[ScoredSpan]:
    attrs = doc.spans[pipe.cfg["spans_key"]].attrs
    found = zip(attrs["places"], attrs["scores"], attrs["statuses"], strict=True)
    return [
        ScoredSpan(start, end, label, float(score), status)
        for (start, end, label), score, status in found
    ]


def _overlap(mentions: Sequence[GoldMention]) -> bool:
    ordered = sorted(replace(mention, label="") for mention in mentions)
    return any(b.start < a.end for a, b in pairwise(ordered))
