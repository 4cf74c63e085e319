"""Windows: the pieces of a Doc that are decoded, each for the mentions that start in
its part of the Doc."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.attrs import LENGTH
from spacy.tokens import Doc, Span

from spacy_padellm.errors import Errors
from spacy_padellm.text.span_getters import SpanGetter

LONGEST_TOKEN = 200  # characters; longer tokens are left out
MESSAGE_LENGTH = 40  # characters of a text in an error message


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a Doc.

    doc (int): Index of the Doc in the batch.
    span (Span): The piece.
    text (str): Its text, which is more than whitespace.
    start (int): Offset of its first character in the Doc.
    start_range (tuple[int, int]): Offsets in the Doc, the second one exclusive: only
        mentions that start there are kept. Two windows share their overlap equally.
    """

    doc: int
    span: Span
    text: str
    start: int
    start_range: tuple[int, int]


def make_windows(docs: Sequence[Doc], span_getter: SpanGetter) -> list[Window]:
    """Cut Docs into windows, without overlong tokens and pieces that are whitespace.

    docs (Sequence[Doc]): The Docs; they may be empty.
    span_getter (SpanGetter): Cuts Docs into spans.
    RAISES (ValueError): If a token other than whitespace is in no span.
    """
    # spaCy builds a Doc's text anew each time
    texts = [(index, doc, doc.text) for index, doc in enumerate(docs)]
    texts = [(index, doc, text) for index, doc, text in texts if text.strip()]
    windows = []
    spans_of_docs = _get_spans([doc for _, doc, _ in texts], span_getter)
    for (index, doc, doc_text), spans in zip(texts, spans_of_docs, strict=True):
        _check_coverage(doc, spans)
        start = 0
        for number, span in enumerate(spans):
            end = len(doc_text)
            if number + 1 < len(spans):
                next_start = spans[number + 1].start
                end = doc[(next_start + max(span.end, next_start)) // 2].idx
            for piece in _without_long_tokens(span):
                text = doc_text[piece.start_char : piece.end_char]
                if text.strip():
                    start_char = piece.start_char
                    windows.append(Window(index, piece, text, start_char, (start, end)))
            start = end
    return windows


def _without_long_tokens(span: Span) -> Iterator[Span]:
    """The pieces of a span between its overlong tokens.

    A data URL, or a passage in a script that the tokenizer does not split, is a single
    token. It is no name, and does not fit into the model.
    """
    start = span.start
    untyped: Any = span  # the stubs lack to_array
    # saves time: most spans are shorter than that
    if span.end_char - span.start_char > LONGEST_TOKEN:
        lengths = untyped.to_array([LENGTH]).ravel()
        for token in (span.start + (lengths > LONGEST_TOKEN).nonzero()[0]).tolist():
            yield span.doc[start:token]
            start = token + 1
    yield span.doc[start : span.end]


def _get_spans(docs: list[Doc], span_getter: SpanGetter) -> list[list[Span]]:
    try:
        return span_getter(docs)
    except ZeroDivisionError as error:  # strided spans with a stride of 0
        raise ValueError(_left_out(docs[0].text)) from error


def _check_coverage(doc: Doc, spans: Sequence[Span]) -> None:
    """Check that each token other than whitespace is in a span."""
    covered = 0
    offsets = sorted((span.start, span.end) for span in spans)
    for start, end in [*offsets, (len(doc), len(doc))]:
        if start > covered and (text := doc[covered:start].text.strip()):
            raise ValueError(_left_out(text))
        covered = max(covered, end)


def _left_out(text: str) -> str:
    return Errors.P119.format(text=text[:MESSAGE_LENGTH])
