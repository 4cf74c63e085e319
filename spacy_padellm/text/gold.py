"""The labels and the gold texts of training examples."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from spacy.tokens import Doc, Span
from spacy.training import Example, validate_get_examples

from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.text.labels import DocLabels, ResolveLabels, get_doc_labels
from spacy_padellm.text.normalize import (
    is_space,
    normalize_text,
    normalized_places,
)
from spacy_padellm.text.spans import gold_spans, other_keys_remedy
from spacy_padellm.text.windows import MESSAGE_LENGTH, CutWindows, Window

_Offsets = tuple[int, int, str]  # start, end (exclusive), label
_warned: set[str] = set()  # mentions that no window holds


def check_get_examples(
    get_examples: Callable[[], Iterable[Example]], method: str
) -> None:
    """Check a function that returns examples, and the first example.

    `Language.initialize` checks the others.

    get_examples (Callable[[], Iterable[Example]]): Returns the examples.
    method (str): The calling method, for the error message.
    RAISES (TypeError): If it is not a function, or returns other objects.
    RAISES (ValueError): If it returns no examples, or the file to read them from is
        missing.
    """
    if callable(get_examples):
        try:
            first = list(islice(get_examples(), 1))
        except FileNotFoundError as error:
            path = error.filename or error
            raise ValueError(Errors.P1015.format(path=path)) from error
        if not first:
            raise ValueError(Errors.P730)
        validate_get_examples(lambda: first, method)
    else:
        validate_get_examples(get_examples, method)


def collect_texts(examples: Iterable[Example], texts: list[str]) -> Iterator[Example]:
    """Yield examples, and collect their texts.

    This reads the corpus once; a large one takes minutes to load.

    examples (Iterable[Example]): The examples.
    texts (list[str]): Receives the texts.
    YIELDS (Example): The same examples.
    """
    for example in examples:
        texts.append(example.reference.text)
        yield example


def gold_labels(
    examples: Iterable[Example],
    *,
    name: str,
    known: Collection[str],
    spans_key: str,
    resolve_labels: ResolveLabels,
) -> dict[str, str]:
    """The labels of examples, with their names in the prompt.

    examples (Iterable[Example]): The examples.
    name (str): The component's name, for the error message.
    known (Collection[str]): The component's labels, if it has any yet.
    spans_key (str): Key of the span group in `doc.spans` with nested mentions.
    resolve_labels (ResolveLabels): Returns the labels to find in a Doc.
    RAISES (ValueError): If the component has labels, and the examples have others, or
        none of several examples is annotated.
    """
    labels: dict[str, str] = {}
    unknown: set[str] = set()
    own_labels: set[str] = set()
    other_keys: set[str] = set()
    skipped = mentions = count = 0
    for example in examples:
        doc_labels = get_doc_labels(example.reference)
        spans = gold_spans(example.reference, spans_key)
        count += 1
        skipped += spans is None
        mentions += len(spans or ())
        other_keys.update(example.reference.spans)
        if doc_labels is not None:
            own_names = resolve_labels(doc_labels)
            labels.update(own_names)
            own_labels.update(own_names)
            continue
        found = {span.label_ for span in spans or []}
        unknown |= found.difference(known) if known else set()
        for label in sorted(found):
            labels.setdefault(label, label)
    _check_labels(unknown, known=known, name=name)
    if known and own_labels.difference(known):
        others = ", ".join(sorted(own_labels.difference(known)))
        logger.warning(Warnings.W135.format(name=name, labels=others))
    if count > 1:  # without examples spaCy passes a single dummy text
        _check_annotation(
            count, skipped, name=name, spans_key=spans_key, other_keys=other_keys
        )
        if not mentions:
            logger.warning(Warnings.W972.format(docs=count - skipped, name=name))
    return labels


def _check_annotation(
    count: int,
    skipped: int,
    *,
    name: str,
    spans_key: str,
    other_keys: Iterable[str],
) -> None:
    """Check that some of the texts of a training are annotated; note the others."""
    if skipped == count:
        remedy = other_keys_remedy(other_keys)
        message = Errors.P994.format(
            docs=count, name=name, key=spans_key, remedy=remedy
        )
        raise ValueError(message)
    if skipped:
        logger.warning(Warnings.W190.format(n=skipped))


def group_gold_texts(
    examples: Iterable[Example],
    cut_for: Callable[[DocLabels | None], CutWindows],
    *,
    name: str,
    spans_key: str,
    resolve_labels: ResolveLabels,
) -> list[tuple[dict[str, str], list[GoldText]]]:
    """The gold texts of examples, grouped by the labels to find in them.

    examples (Iterable[Example]): The examples; see `gold_texts`.
    cut_for (Callable[[DocLabels | None], CutWindows]): Returns what cuts Docs with
        these labels of their own into windows.
    name (str): The component's name, for the error message.
    spans_key (str): Key of the span group in `doc.spans` with nested mentions.
    resolve_labels (ResolveLabels): Returns the labels to find in a Doc.
    RETURNS (list[tuple[dict[str, str], list[GoldText]]]): Label -> its name in the
        prompt, and the gold texts with these labels.
    RAISES (ValueError): If a mention has a label that is not to be found in its Doc.
    """
    groups = []
    pairs = [(get_doc_labels(example.reference), example) for example in examples]
    pairs.sort(key=lambda pair: repr(pair[0]))
    for doc_labels, group in groupby(pairs, key=itemgetter(0)):
        labels = resolve_labels(doc_labels)
        golds = gold_texts(
            [example for _, example in group],
            cut_for(doc_labels),
            spans_key=spans_key,
            check_labels=partial(
                _check_labels, known=labels, name=name, doc_labels=doc_labels
            ),
        )
        if golds and labels:
            groups.append((labels, golds))
    return groups


def _check_labels(
    labels: Iterable[str], *, known: Collection[str], name: str, doc_labels: Any = None
) -> None:
    if unknown := sorted(set(labels).difference(known)):
        template = Errors.P142 if doc_labels is None else Errors.P157
        message = template.format(
            labels=", ".join(unknown), name=name, known=", ".join(known)
        )
        raise ValueError(message)


def gold_texts(
    examples: Sequence[Example],
    cut: CutWindows,
    *,
    spans_key: str,
    check_labels: Callable[[Iterable[str]], None],
) -> list[GoldText]:
    """The windows of the annotated examples, with the mentions inside them.

    examples (Sequence[Example]): The examples; those without gold annotation are left
        out.
    cut (CutWindows): Cuts Docs into windows.
    spans_key (str): Key of the span group in `doc.spans` with nested mentions.
    check_labels (Callable[[Iterable[str]], None]): Raises an error if some of the
        labels are unknown.
    RETURNS (list[GoldText]): One for each window.
    RAISES (ValueError): As `check_labels`.
    """
    docs, offsets = [], []
    found = [gold_spans(example.reference, spans_key) for example in examples]
    check_labels(span.label_ for spans in found for span in spans or [])
    for example, spans in zip(examples, found, strict=True):
        if spans is None:
            continue
        docs.append(example.predicted)
        offsets.append(sorted(_predicted_offsets(example, spans)))
    windows = cut(docs)
    _warn_of_cut(docs, windows, offsets)
    return [gold_text(window, offsets[window.doc]) for window in windows]


def _warn_of_cut(
    docs: Sequence[Doc],
    windows: Sequence[Window],
    offsets: Sequence[Sequence[_Offsets]],
) -> None:
    """Warn, once, of gold mentions that no window holds: they are learnt as absent."""
    if _warned:
        return
    whole: list[set[int]] = [set() for _ in docs]
    for window in windows:
        whole[window.doc].update(_inside(window, offsets[window.doc]))
    for doc, own, held in zip(docs, offsets, whole, strict=True):
        for number, (start, end, _) in enumerate(own):
            if number not in held:
                text = doc.text[start:end][:MESSAGE_LENGTH]
                _warned.add(text)
                logger.warning(Warnings.W978.format(text=text))
                return


def _inside(window: Window, offsets: Sequence[_Offsets]) -> Iterator[int]:
    """The numbers of the mentions that are completely inside a window."""
    stop = window.start + len(window.text)
    first = bisect_left(offsets, window.start, key=itemgetter(0))
    for number in range(first, len(offsets)):
        start, end, _ = offsets[number]
        if start >= stop:
            return
        if end <= stop:
            yield number


def _predicted_offsets(example: Example, spans: Sequence[Span]) -> list[_Offsets]:
    """The offsets of gold mentions in the predicted Doc's text.

    The two texts may differ in whitespace and case: many gold corpora have words
    without the spaces between them.
    """
    predicted, gold = example.predicted.text, example.reference.text
    if predicted == gold:
        return [(span.start_char, span.end_char, span.label_) for span in spans]
    predicted_chars, gold_chars = _non_spaces(predicted), _non_spaces(gold)
    if [predicted[i].lower() for i in predicted_chars] != [
        gold[i].lower() for i in gold_chars
    ]:
        # spaCy reports the difference, unless lower case turned one letter into two
        aligned = example.get_aligned_spans_y2x(spans, allow_overlap=True)
        return [(span.start_char, span.end_char, span.label_) for span in aligned]
    offsets = []
    for span in spans:
        first = bisect_left(gold_chars, span.start_char)
        end = bisect_left(gold_chars, span.end_char)
        if first < end:
            last = predicted_chars[end - 1]
            offsets.append((predicted_chars[first], last + 1, span.label_))
    return offsets


def _non_spaces(text: str) -> list[int]:
    """The offsets of all characters other than whitespace."""
    return [offset for offset, char in enumerate(text) if not char.isspace()]


def gold_text(window: Window, offsets: Sequence[_Offsets]) -> GoldText:
    """A window's normalized text, with the mentions that are completely inside it.

    window (Window): The window.
    offsets (Sequence[tuple[int, int, str]]): The mentions of its Doc in text order:
        start, end (exclusive), label.
    RETURNS (GoldText): The text, with the mentions in text order.
    """
    text = normalize_text(window.text)
    places: list[tuple[int, int]] = []
    labels = []
    for number in _inside(window, offsets):
        start_in_doc, end_in_doc, label = offsets[number]
        start, end = start_in_doc - window.start, end_in_doc - window.start
        while start < end and is_space(window.text[start]):
            start += 1
        while start < end and is_space(window.text[end - 1]):
            end -= 1
        if start < end:
            places.append((start, end))
            labels.append(label)
    if text != window.text:
        places = normalized_places(window.text, places)
    inside = [(*place, label) for place, label in zip(places, labels, strict=True)]
    mentions: dict[str, list[str]] = {}
    for start, end, label in inside:
        mentions.setdefault(label, []).append(text[start:end])
    return GoldText(text, mentions, inside)
