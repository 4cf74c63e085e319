"""From examples to the labels and the gold texts that a model is trained on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from spacy.tokens import Span
from spacy.training import Example, validate_get_examples

from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.text.labels import LabelsOf, own_labels
from spacy_padellm.text.normalize import normalize_text, normalized_offset
from spacy_padellm.text.span_getters import SpanGetter
from spacy_padellm.text.spans import gold_spans
from spacy_padellm.text.windows import Window, make_windows

_Place = tuple[int, int, str]  # first character, the one after the last, label


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
        doc_labels = own_labels(example.reference)
        spans = gold_spans(example.reference, spans_key)
        count += 1
        skipped += spans is None
        if doc_labels is not None:
            found.update(labels_of(doc_labels))
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
    for doc_labels, run in groupby(owned, key=itemgetter(0)):
        labels = labels_of(doc_labels)
        golds = gold_texts(
            [example for _, example in run],
            span_getter,
            spans_key=spans_key,
            check_label=partial(
                _check_label, known=labels, name=name, doc_labels=doc_labels
            ),
        )
        if golds and labels:
            asked.append((labels, golds))
    return asked


def _check_label(
    label: str, *, known: Collection[str], name: str, doc_labels: Any = None
) -> None:
    if label not in known:
        template = Errors.P142 if doc_labels is None else Errors.P157
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
    docs, places = [], []
    for example in examples:
        spans = gold_spans(example.reference, spans_key)
        if spans is None:
            continue
        for span in spans:
            check_label(span.label_)
        docs.append(example.predicted)
        places.append(sorted(_in_predicted(example, spans)))
    for window in make_windows(docs, span_getter):
        golds.append(gold_text(window, places[window.doc]))
    return golds


def _in_predicted(example: Example, spans: Sequence[Span]) -> list[_Place]:
    """Where gold mentions stand in the text that is read.

    It may have other blanks and other case than the gold text: gold words are often
    given without blanks.
    """
    read, gold = example.predicted.text, example.reference.text
    if read == gold:
        return [(span.start_char, span.end_char, span.label_) for span in spans]
    of_read, of_gold = _filled(read), _filled(gold)
    if [read[i].lower() for i in of_read] != [gold[i].lower() for i in of_gold]:
        # spaCy says what is wrong, unless a letter has become two
        aligned = example.get_aligned_spans_y2x(spans, allow_overlap=True)
        return [(span.start_char, span.end_char, span.label_) for span in aligned]
    places = []
    for span in spans:
        first = bisect_left(of_gold, span.start_char)
        after = bisect_left(of_gold, span.end_char)
        if first < after:
            places.append((of_read[first], of_read[after - 1] + 1, span.label_))
    return places


def _filled(text: str) -> list[int]:
    """The places of all characters but blanks."""
    return [place for place, char in enumerate(text) if not char.isspace()]


def gold_text(window: Window, places: Sequence[_Place]) -> GoldText:
    """A window as it is read, with the mentions that it holds as a whole.

    window (Window): The window.
    places (Sequence[tuple[int, int, str]]): The mentions of its Doc in text order:
        first character, the one after the last, label.
    """
    start = window.start
    end = start + len(window.text)
    text = normalize_text(window.text)
    mentions: dict[str, list[str]] = {}
    held = []
    for first, after, label in places:
        if start <= first and after <= end:
            place = first - start, after - start
            mentions.setdefault(label, []).append(
                normalize_text(window.text[slice(*place)])
            )
            if text != window.text:
                place = (
                    normalized_offset(window.text, place[0]),
                    normalized_offset(window.text, place[1]),
                )
            held.append((*place, label))
    return GoldText(text, mentions, held)
