"""Scores: spaCy's span scores and the paper's string micro-F."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.mention.string_scores import Strings, micro_average, score_by_label
from spacy_padellm.text.labels import own_labels
from spacy_padellm.text.spans import gold_spans


@dataclass(frozen=True, slots=True)
class NerScorer:
    """The scorer of a pipe, which pickles with it; see `ner_score`."""

    spans_key: str

    def __call__(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples; a pipe gives its settings, its `spans_key` among them."""
        spans_key = kwargs.get("spans_key", self.spans_key)
        return ner_score(examples, spans_key=spans_key)


def make_ner_scorer(spans_key: str = "padellm") -> NerScorer:
    """The registered `spacy-padellm.NerScorer.v1`.

    spans_key (str): Where `doc.spans` holds nested mentions, gold and predicted.
    """
    return NerScorer(spans_key)


def ner_score(examples: Iterable[Example], *, spans_key: str) -> dict[str, Any]:
    """Score entities and mentions.

    examples (Iterable[Example]): Examples; those whose gold is not, or only in part,
        annotated are skipped. Where the gold has labels of its own, only mentions of
        these count: others may be right, but are not annotated.
    spans_key (str): Key of the gold and predicted span groups.
    RETURNS (dict[str, Any]): `ents_p/r/f` and `ents_per_type` of `doc.ents` (spaCy's);
        `spans_KEY_p/r/f` of `doc.spans[KEY]` where the gold has it; `strings_p/r/f`
        and `strings_per_type`: the paper's micro-F over (label, string) of each text,
        positions aside, nested mentions included (section 4.1).
    """
    examples = [_of_own_labels(example, spans_key) for example in examples]
    scores: dict[str, Any] = dict(get_ner_prf(examples))
    annotated = [
        eg for eg in examples if gold_spans(eg.reference, spans_key) is not None
    ]
    grouped = [eg for eg in annotated if spans_key in eg.reference.spans]
    if grouped:
        scores |= Scorer.score_spans(
            grouped,
            f"spans_{spans_key}",
            getter=lambda doc, attr: doc.spans.get(spans_key, []),
            has_annotation=lambda doc: spans_key in doc.spans,
            labeled=True,
            allow_overlap=True,
        )
    return scores | _string_scores(annotated, spans_key)


def _of_own_labels(example: Example, spans_key: str) -> Example:
    """The example with predictions of the gold's own labels only, if it has some."""
    doc_labels = own_labels(example.reference)
    if doc_labels is None:
        return example
    labels = {label for label, _ in doc_labels}
    found = example.predicted
    groups = [found.spans[spans_key]] if spans_key in found.spans else []
    if all(span.label_ in labels for spans in (found.ents, *groups) for span in spans):
        return example
    kept = found.copy()
    kept.set_ents([ent for ent in kept.ents if ent.label_ in labels])
    for group in groups:
        kept.spans[spans_key] = [
            Span(kept, span.start, span.end, label=span.label)
            for span in group
            if span.label_ in labels
        ]
    return Example(kept, example.reference)


def _string_scores(examples: Sequence[Example], spans_key: str) -> dict[str, Any]:
    by_label = score_by_label(
        (_strings(eg.predicted, spans_key), _strings(eg.reference, spans_key))
        for eg in examples
    )
    total = micro_average(by_label.values())
    return {
        "strings_p": total.precision if examples else None,
        "strings_r": total.recall if examples else None,
        "strings_f": total.f if examples else None,
        "strings_per_type": {
            label: {"p": score.precision, "r": score.recall, "f": score.f}
            for label, score in sorted(by_label.items())
        },
    }


def _strings(doc: Doc, spans_key: str) -> Strings:
    spans = doc.spans.get(spans_key, doc.ents)
    return Counter((span.label_, span.text) for span in spans)
