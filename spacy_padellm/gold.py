"""From examples to the gold texts that a model is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spacy.tokens import Span
from spacy.training import Example

from spacy_padellm.spans import gold_spans
from spacy_padellm.targets import GoldText
from spacy_padellm.windows import SpanGetter, Window, make_windows


def gold_texts(
    examples: Sequence[Example],
    span_getter: SpanGetter,
    *,
    spans_key: str,
    check_label: Callable[[str], None],
) -> list[GoldText]:
    """The windows of the annotated examples, with the mentions that lie inside.

    examples (Sequence[Example]): The examples; one without gold annotation is left
        out.
    span_getter (SpanGetter): Cuts Docs into windows.
    spans_key (str): Where `doc.spans` holds nested mentions.
    check_label (Callable[[str], None]): Raises if a label is unknown.
    """
    golds = []
    annotated = [
        (example, spans)
        for example in examples
        if (spans := gold_spans(example.reference, spans_key)) is not None
    ]
    docs = [example.predicted for example, _ in annotated]
    for window in make_windows(docs, span_getter):
        spans = annotated[window.doc][1]
        for span in spans:
            check_label(span.label_)
        golds.append(gold_text(window, spans))
    return golds


def gold_text(window: Window, spans: Sequence[Span]) -> GoldText:
    """A window with the mentions that it holds as a whole."""
    start = window.start
    end = start + len(window.text)
    mentions: dict[str, list[str]] = {}
    places = []
    for span in sorted(spans, key=lambda span: (span.start_char, span.end_char)):
        if start <= span.start_char and span.end_char <= end:
            mentions.setdefault(span.label_, []).append(span.text)
            places.append((span.start_char - start, span.end_char - start, span.label_))
    return GoldText(window.text, mentions, places)
