"""Span getters: functions that cut Docs into spans that fit the model.

Where spacy-transformers is installed, spaCy loads it, and its span getters
(`spacy-transformers.sent_spans.v1`, ...) are found. Where it is not, ours take the
names of those that give the same windows, so that pipelines that name them load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import catalogue
from spacy.tokens import Doc, Span
from spacy.util import registry

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors

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
    whole = is_whole(window) and is_whole(stride)
    if not (whole and 1 <= stride <= window):
        raise ValueError(Errors.P199.format(window=window, stride=stride))
    return partial(_strided_spans, window=window, stride=stride)


def make_doc_spans() -> SpanGetter:
    """`spacy-padellm.doc_spans.v1`: each Doc is one window."""
    return _doc_spans


def default_span_getter(lang: str) -> SpanGetter:
    """The span getter of a config without one: windows with about as much text in
    each language.

    lang (str): The pipeline's language.
    """
    # Chinese tokens are single characters, unless a word segmenter is configured
    window = 128 if lang == "zh" else 32
    return make_strided_spans(window, window * 3 // 4)


def _strided_spans(docs: list[Doc], *, window: int, stride: int) -> list[list[Span]]:
    spans = []
    for doc in docs:
        # no further window starts where the last one has reached the end of the Doc
        starts = range(0, max(len(doc) - window + stride, 1), stride)
        spans.append([doc[start : start + window] for start in starts if len(doc)])
    return spans


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
