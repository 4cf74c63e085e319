"""Span getters: functions that cut Docs into spans that fit the model.

Where spacy-transformers is installed, spaCy loads it, and its span getters
(`spacy-transformers.sent_spans.v1`, ...) are found. Where it is not, ours take the
names of those that give the same windows, so that pipelines that name them load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import pairwise

import catalogue
from spacy.tokens import Doc, Span
from spacy.util import registry

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors
from spacy_padellm.text.sentences import sentence_starts

SpanGetter = Callable[[list[Doc]], list[list[Span]]]

# spacy-transformers creates the same registry when it is imported
if not hasattr(registry, "span_getters"):
    registry.span_getters = catalogue.create(  # type: ignore[attr-defined]
        "spacy", "span_getters", entry_points=True
    )


def make_strided_spans(window: int, stride: int) -> SpanGetter:
    """`spacy-padellm.strided_spans.v1`: windows of a fixed number of tokens.

    window (int): Tokens in a window.
    stride (int): Tokens from the start of one window to the start of the next. If it
        is less than `window`, windows overlap.
    RAISES (ValueError): If a token would be in no window.
    """
    _check_strides(window, stride)
    return partial(_strided_spans, window=window, stride=stride)


def make_doc_spans() -> SpanGetter:
    """`spacy-padellm.doc_spans.v1`: each Doc is one window."""
    return _doc_spans


def make_sentence_spans(window: int, stride: int, joined: int) -> SpanGetter:
    """`spacy-padellm.sentence_spans.v1`: windows of whole sentences; see
    `sentence_starts`.

    window (int): Most tokens of a window. Longer sentences are cut to windows of this
        size that overlap.
    stride (int): Tokens from the start of one such window to the start of the next.
    joined (int): Short sentences are joined up to this number of tokens.
    RAISES (ValueError): If a token would be in no window, or `joined` is no number of
        tokens from 0 to `window`.
    """
    _check_strides(window, stride)
    if not (is_whole(joined) and 0 <= joined <= window):
        raise ValueError(Errors.P1018.format(joined=joined, window=window))
    return partial(_sentence_spans, window=window, stride=stride, joined=joined)


def default_span_getter(lang: str) -> SpanGetter:
    """The span getter of a config without one.

    lang (str): The pipeline's language.
    """
    # Chinese tokens are single characters, unless a word segmenter is configured
    if lang == "zh":
        return make_strided_spans(128, 96)
    return make_sentence_spans(48, 36, 32)


def _check_strides(window: int, stride: int) -> None:
    whole = is_whole(window) and is_whole(stride)
    if not (whole and 1 <= stride <= window):
        raise ValueError(Errors.P199.format(window=window, stride=stride))


def _strided_spans(docs: list[Doc], *, window: int, stride: int) -> list[list[Span]]:
    strides = partial(_strides, window=window, stride=stride)
    return [
        [doc[first:end] for first, end in strides(0, len(doc))] if len(doc) else []
        for doc in docs
    ]


def _sentence_spans(
    docs: list[Doc], *, window: int, stride: int, joined: int
) -> list[list[Span]]:
    return [
        [
            doc[first:end]
            for start, stop in _joined_sentences(doc, joined)
            for first, end in _strides(start, stop, window=window, stride=stride)
        ]
        for doc in docs
    ]


def _joined_sentences(doc: Doc, joined: int) -> Iterator[tuple[int, int]]:
    """The first token of some sentences, and the one after them.

    joined (int): Most tokens of several sentences.
    """
    # saves time: most Docs are short
    starts = sentence_starts(doc) if len(doc) > joined else [0][: len(doc)]
    first = 0
    for start, end in pairwise([*starts, len(doc)]):
        if start > first and end - first > joined:
            yield first, start
            first = start
    if first < len(doc):
        yield first, len(doc)


def _strides(
    start: int, stop: int, *, window: int, stride: int
) -> Iterator[tuple[int, int]]:
    """Windows of a number of tokens over the tokens from `start` to `stop`."""
    # no further window starts where the last one has reached the end
    for first in range(start, max(stop - window + stride, start + 1), stride):
        yield first, min(first + window, stop)


def _doc_spans(docs: list[Doc]) -> list[list[Span]]:
    return [[doc[:]] for doc in docs]


if find_spec("spacy_transformers") is None:
    for name, make in (
        ("strided_spans", make_strided_spans),
        ("doc_spans", make_doc_spans),
    ):
        registry.span_getters.register(  # type: ignore[attr-defined]
            f"spacy-transformers.{name}.v1", func=make
        )
