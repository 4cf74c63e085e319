"""Scores: spaCy's scores of spans and the paper's micro-F of strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.errors import Warnings, logger
from spacy_padellm.mention.string_scores import Strings, micro_average, score_by_label
from spacy_padellm.text.labels import get_doc_labels
from spacy_padellm.text.moved import move_spans
from spacy_padellm.text.spans import gold_spans, without_repeats


@dataclass(frozen=True, slots=True)
class NerScorer:
    """The scorer of a component, which can be pickled with it; see `ner_score`."""

    spans_key: str

    def __call__(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples; a component passes its settings, also its `spans_key`."""
        spans_key = kwargs.get("spans_key", self.spans_key)
        examples = list(examples)
        _note_gold(examples, kwargs.get("labels"), spans_key)
        return ner_score(examples, spans_key=spans_key)


def _note_gold(
    examples: Sequence[Example], labels: Sequence[str] | None, spans_key: str
) -> None:
    """Warn of gold annotation with which scores say nothing about the model.

    labels (Sequence[str] | None): The component's labels, if they are known.
    """
    golds = [gold_spans(example.reference, spans_key) for example in examples]
    if not any(golds):
        annotated = sum(gold is not None for gold in golds)
        _warn(Warnings.W763.format(n=len(golds), annotated=annotated))
    unknown = {
        span.label_
        for example, gold in zip(examples, golds, strict=True)
        if gold and get_doc_labels(example.reference) is None
        for span in gold
    }.difference(labels or ())
    if labels and unknown:
        names, known = ", ".join(sorted(unknown)), ", ".join(labels)
        _warn(Warnings.W764.format(labels=names, known=known))


@cache  # once per process
def _warn(message: str) -> None:
    logger.warning(message)


def make_ner_scorer(spans_key: str = "padellm") -> NerScorer:
    """The registered `spacy-padellm.NerScorer.v1`.

    spans_key (str): Key of the gold and predicted span groups with nested mentions.
    """
    return NerScorer(spans_key)


def ner_score(examples: Iterable[Example], *, spans_key: str) -> dict[str, Any]:
    """Score entities and mentions.

    examples (Iterable[Example]): The examples. Those without gold annotation are
        skipped. Where `doc.ents` alone is annotated, and only in part, `ents_*` count
        that part, and the others skip the example. If a gold Doc has labels in its user
        data, only mentions of these labels are scored: others may be correct, but are
        not annotated.
    spans_key (str): Key of the gold and predicted span groups.
    RETURNS (dict[str, Any]): `ents_p/r/f` and `ents_per_type` of `doc.ents` (spaCy's);
        `spans_KEY_p/r/f` of `doc.spans[KEY]` if the gold Docs have it; `strings_p/r/f`
        and `strings_per_type`: the paper's micro-F over (label, string) of each text,
        regardless of offsets, with nested mentions (section 4.1).
    """
    examples = list(examples)
    for example in examples:
        move_spans(example.predicted)  # other components may have merged tokens
    examples = [_with_doc_labels(example, spans_key) for example in examples]
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


def _with_doc_labels(example: Example, spans_key: str) -> Example:
    """The example with mentions of the gold Doc's labels only, if it has some."""
    doc_labels = get_doc_labels(example.reference)
    if doc_labels is None:
        return example
    labels = {label for label, _ in doc_labels}
    predicted = _with_labels(example.predicted, labels, spans_key)
    reference = _with_labels(example.reference, labels, spans_key)
    return Example(predicted, reference)


def _with_labels(doc: Doc, labels: set[str], spans_key: str) -> Doc:
    """A copy of a Doc with the mentions of some labels; itself, if it has no others."""
    groups = [doc.spans[spans_key]] if spans_key in doc.spans else []
    if all(span.label_ in labels for spans in (doc.ents, *groups) for span in spans):
        return doc
    kept = doc.copy()
    others = [ent for ent in kept.ents if ent.label_ not in labels]
    # tokens that are not annotated stay so
    kept.set_ents([], outside=others, default="unmodified")
    for group in groups:
        kept.spans[spans_key] = [
            Span(kept, span.start, span.end, label=span.label)
            for span in group
            if span.label_ in labels
        ]
    return kept


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
    return Counter((span.label_, span.text) for span in without_repeats(spans))
