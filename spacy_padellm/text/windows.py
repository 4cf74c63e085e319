"""Windows: the pieces of a Doc that the model reads, and whose mentions count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.attrs import LENGTH
from spacy.tokens import Doc, Span

from spacy_padellm.errors import Errors
from spacy_padellm.text.span_getters import SpanGetter

LONGEST_TOKEN = 200  # characters; longer ones are not read
SHOWN = 40  # characters of a text that an error message shows


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a Doc.

    doc (int): Which Doc of the batch.
    span (Span): The piece.
    text (str): Its text, not blank.
    start (int): Its first character in the Doc.
    owned (tuple[int, int]): Characters of the Doc in which a mention must start to
        count: where windows overlap, each owns its half.
    """

    doc: int
    span: Span
    text: str
    start: int
    owned: tuple[int, int]


def make_windows(docs: Sequence[Doc], span_getter: SpanGetter) -> list[Window]:
    """Cut Docs into windows; blank pieces and endless tokens are left out.

    docs (Sequence[Doc]): The Docs, possibly empty ones.
    span_getter (SpanGetter): Cuts Docs into spans.
    RAISES (ValueError): If a token that is not blank stands in no window.
    """
    # a Doc's text is put together each time
    texts = [(index, doc, doc.text) for index, doc in enumerate(docs)]
    filled = [(index, doc, text) for index, doc, text in texts if text.strip()]
    windows = []
    pieces = _get_pieces([doc for _, doc, _ in filled], span_getter)
    for (index, doc, whole), spans in zip(filled, pieces, strict=True):
        _check_read(doc, spans)
        start = 0
        for place, span in enumerate(spans):
            end = len(whole)
            if place + 1 < len(spans):
                after = spans[place + 1].start
                end = doc[(after + max(span.end, after)) // 2].idx
            for piece in _readable(span):
                first = piece.start_char
                text = whole[first : piece.end_char]
                if text.strip():
                    windows.append(Window(index, piece, text, first, (start, end)))
            start = end
    return windows


def _readable(span: Span) -> Iterator[Span]:
    """The pieces of a span between tokens that are far too long for a name.

    A URL of data, or a passage in a script that the tokenizer does not cut, is one
    token, which no model could read.
    """
    start = span.start
    untyped: Any = span  # the stubs lack to_array
    # most pieces are shorter as a whole
    if span.end_char - span.start_char > LONGEST_TOKEN:
        lengths = untyped.to_array([LENGTH]).ravel()
        for place in (span.start + (lengths > LONGEST_TOKEN).nonzero()[0]).tolist():
            yield span.doc[start:place]
            start = place + 1
    yield span.doc[start : span.end]


def _get_pieces(docs: list[Doc], span_getter: SpanGetter) -> list[list[Span]]:
    try:
        return span_getter(docs)
    except ZeroDivisionError as error:  # of strided spans with a stride of 0
        raise ValueError(_left_out(docs[0].text)) from error


def _check_read(doc: Doc, spans: Sequence[Span]) -> None:
    """Check that each token stands in a piece, or is blank."""
    reached = 0
    places = sorted((span.start, span.end) for span in spans)
    for start, end in [*places, (len(doc), len(doc))]:
        if start > reached and (text := doc[reached:start].text.strip()):
            raise ValueError(_left_out(text))
        reached = max(reached, end)


def _left_out(text: str) -> str:
    return Errors.P119.format(text=text[:SHOWN])
