"""From examples to the labels and the gold texts that a model is trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from spacy.tokens import Span
from spacy.training import Example, validate_get_examples

from spacy_padellm.as_read import as_read, place_as_read
from spacy_padellm.decoding.base import logger
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.label_names import LabelsOf, own_labels
from spacy_padellm.spans import gold_spans
from spacy_padellm.targets import GoldText
from spacy_padellm.windows import SpanGetter, Window, make_windows


def check_first(get_examples: Callable[[], Iterable[Example]], method: str) -> None:
    """Check what gives examples, and the first one; `Language.initialize` checks all.

    get_examples (Callable[[], Iterable[Example]]): Gives the examples.
    method (str): Who asks, for the error message.
    RAISES (TypeError): If it is no function, or gives no examples.
    """
    if callable(get_examples):
        first = list(islice(get_examples(), 1))
        validate_get_examples(lambda: first, method)
    else:
        validate_get_examples(get_examples, method)


def noting_texts(examples: Iterable[Example], texts: list[str]) -> Iterator[Example]:
    """Pass examples on and note their texts: a large corpus takes minutes to read."""
    for example in examples:
        texts.append(example.reference.text)
        yield example


def gold_labels(
    examples: Iterable[Example],
    *,
    name: str,
    known: Collection[str],
    spans_key: str,
    labels_of: LabelsOf,
) -> dict[str, str]:
    """The labels of examples, with their names in the prompt.

    examples (Iterable[Example]): The examples.
    name (str): The component's name, for the error message.
    known (Collection[str]): The component's labels, if it has any by now.
    spans_key (str): Where `doc.spans` holds nested mentions.
    labels_of (LabelsOf): The labels to find in a Doc.
    RAISES (ValueError): If the component has labels, and an example has others.
    """
    found: dict[str, str] = {}
    skipped = count = 0
    for example in examples:
        own = own_labels(example.reference)
        spans = gold_spans(example.reference, spans_key)
        count += 1
        skipped += spans is None
        if own is not None:
            found.update(labels_of(own))
            continue
        for span in spans or []:
            if known:
                _check_label(span.label_, known=known, name=name)
            found.setdefault(span.label_, span.label_)
    # spaCy gives a text of its own where there are no examples
    if skipped and count > 1:
        logger.warning(Warnings.W190.format(n=skipped))
    return found


def golds_by_labels(
    examples: Iterable[Example],
    span_getter: SpanGetter,
    *,
    name: str,
    spans_key: str,
    labels_of: LabelsOf,
) -> list[tuple[dict[str, str], list[GoldText]]]:
    """The gold texts of examples, those with the same labels together.

    examples (Iterable[Example]): The examples; see `gold_texts`.
    span_getter (SpanGetter): Cuts Docs into windows.
    name (str): The component's name, for the error message.
    spans_key (str): Where `doc.spans` holds nested mentions.
    labels_of (LabelsOf): The labels to find in a Doc.
    RAISES (ValueError): If a mention has a label that is not to be found in its Doc.
    """
    asked = []
    owned = [(own_labels(example.reference), example) for example in examples]
    owned.sort(key=lambda pair: repr(pair[0]))
    for own, run in groupby(owned, key=itemgetter(0)):
        labels = labels_of(own)
        golds = gold_texts(
            [example for _, example in run],
            span_getter,
            spans_key=spans_key,
            check_label=partial(_check_label, known=labels, name=name, own=own),
        )
        if golds and labels:
            asked.append((labels, golds))
    return asked


def _check_label(
    label: str, *, known: Collection[str], name: str, own: Any = None
) -> None:
    if label not in known:
        template = Errors.P142 if own is None else Errors.P157
        known_labels = ", ".join(known)
        raise ValueError(template.format(label=label, name=name, known=known_labels))


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
    """A window as it is read, with the mentions that it holds as a whole."""
    start = window.start
    end = start + len(window.text)
    text = as_read(window.text)
    mentions: dict[str, list[str]] = {}
    places = []
    for span in sorted(spans, key=lambda span: (span.start_char, span.end_char)):
        if start <= span.start_char and span.end_char <= end:
            mentions.setdefault(span.label_, []).append(as_read(span.text))
            place = span.start_char - start, span.end_char - start
            if text != window.text:
                place = (
                    place_as_read(window.text, place[0]),
                    place_as_read(window.text, place[1]),
                )
            places.append((*place, span.label_))
    return GoldText(text, mentions, places)
