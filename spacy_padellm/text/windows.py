"""Windows: the pieces of a Doc that are decoded, each for the mentions that start in
its part of the Doc."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from spacy.attrs import IDX, IS_ALPHA, LENGTH, LIKE_URL
from spacy.tokens import Doc, Span

from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.text import unsplit
from spacy_padellm.text.layout import layout_breaks, without_quote_marks
from spacy_padellm.text.normalize import normalize_text, remove_spaces
from spacy_padellm.text.span_getters import SpanGetter

# characters; longer tokens are no names, and are left out
LONGEST_TOKEN = 200
_LONGEST_WITHOUT_LETTERS_ALONE = 80  # hashes, base64, paths
_LONGEST_URL = 40
_warned: set[str] = set()  # languages
_SENTENCE_ENDS = {*".!?;", "。", "！", "？", "；"}
_PARTS_AT_ONCE = 8
MESSAGE_LENGTH = 40  # characters of a text in an error message


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a Doc.

    doc (int): Index of the Doc in the batch.
    span (Span): The piece.
    text (str): Its text, which is more than whitespace. The marks of quoted lines are
        spaces if the layout splits.
    start (int): Offset of its first character in the Doc.
    start_range (tuple[int, int]): Offsets in the Doc, the second one exclusive: only
        mentions that start there are kept. Two windows share their overlap equally.
    """

    doc: int
    span: Span
    text: str
    start: int
    start_range: tuple[int, int]


# whether a text fits the model
FitsModel = Callable[[str], bool]
# cuts Docs into windows
CutWindows = Callable[[Sequence[Doc]], list[Window]]
Layout = Literal["split", "ignore"]


def make_windows(
    docs: Sequence[Doc],
    span_getter: SpanGetter,
    *,
    name: str,
    layout: Layout = "split",
    fits: FitsModel = lambda text: True,
) -> list[Window]:
    """Cut Docs into windows, without overlong tokens and pieces that are whitespace.

    docs (Sequence[Doc]): The Docs; they may be empty.
    span_getter (SpanGetter): Cuts Docs into spans.
    name (str): The component's name, for the error message.
    layout (Layout): Whether spans are cut further at the breaks of the text's layout;
        see `layout_breaks`.
    fits (FitsModel): Whether a text fits the model. Spans that do not fit are cut
        further, and tokens that do not fit are left out.
    RAISES (ValueError): If a token other than whitespace is in no span.
    """
    sections = [s for i, doc in enumerate(docs) for s in _sections(i, doc, layout)]
    windows = []
    spans_of_sections = _get_spans(sections, span_getter, name)
    for section, own_spans in zip(sections, spans_of_sections, strict=True):
        _check_coverage(section.own_doc, own_spans, name)
        doc, first = section.doc, section.tokens.start
        spans = [doc[first + span.start : first + span.end] for span in own_spans]
        start, last = section.chars.start, section.chars.stop
        for number, span in enumerate(spans):
            end = last
            if number + 1 < len(spans):
                next_start = spans[number + 1].start
                end = doc[(next_start + max(span.end, next_start)) // 2].idx
            for short in _without_long_tokens(span):
                for piece, text in _fitting(short, section.text, fits):
                    place = piece.start_char, (start, end)
                    windows.append(Window(section.index, piece, text, *place))
            start = end
    return windows


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of a Doc between two breaks of its layout.

    index (int): Index of the Doc in the batch.
    doc (Doc): The Doc.
    text (str): The Doc's text, as windows have it.
    tokens (slice): The section's tokens.
    chars (slice): Its characters, up to the next section.
    own_doc (Doc): The section as a Doc.
    """

    index: int
    doc: Doc
    text: str
    tokens: slice
    chars: slice
    own_doc: Doc


def _sections(index: int, doc: Doc, layout: Layout) -> Iterator[_Section]:
    """The sections of a Doc, without those that are only whitespace."""
    text = doc.text
    unsplit.warn_of_unsplit(doc, text)
    offsets = doc.to_array([IDX]).ravel()
    breaks: list[tuple[int, int]] = []
    if layout == "split":
        breaks = _breaks(doc, text, offsets)
        text = without_quote_marks(text)
    if not breaks:
        if remove_spaces(text):
            whole = slice(0, len(doc)), slice(0, len(text))
            yield _Section(index, doc, text, *whole, own_doc=doc)
        return
    starts = [0, *(end for _, end in breaks)]
    ends = [*(start for start, _ in breaks), len(text)]
    filled = [
        (a, b) for a, b in zip(starts, ends, strict=True) if remove_spaces(text[a:b])
    ]
    parts = [slice(*(bisect_left(offsets, char) for char in pair)) for pair in filled]
    own_docs = _own_docs(doc, parts)
    for number, ((start, _), tokens) in enumerate(zip(filled, parts, strict=True)):
        following = filled[number + 1][0] if number + 1 < len(filled) else len(text)
        chars = slice(start if number else 0, following)
        yield _Section(index, doc, text, tokens, chars, next(own_docs))


def _breaks(doc: Doc, text: str, offsets: np.ndarray) -> list[tuple[int, int]]:
    """The breaks of a text's layout that are whitespace or whole tokens; not those
    inside a token.

    offsets (np.ndarray): The offsets at which tokens start; shape (tokens,).
    """
    breaks = layout_breaks(text)
    if not breaks:
        return []
    ends = np.array([end for _, end in breaks])
    last = np.searchsorted(offsets, ends.astype(offsets.dtype)) - 1
    lengths = doc.to_array([LENGTH]).ravel()
    if (goes_on := offsets[last] + lengths[last] > ends).any():
        breaks = [breaks[index] for index in (~goes_on).nonzero()[0].tolist()]
    plain = without_quote_marks(text)
    if all(plain[start:end].isspace() for start, end in breaks):
        return breaks
    starts = set(offsets.tolist())
    return [
        (start, end)
        for start, end in breaks
        if plain[start:end].isspace() or (start in starts and end in starts)
    ]


def _own_docs(doc: Doc, parts: Sequence[slice]) -> Iterator[Doc]:
    """Copy parts of a Doc to Docs of their own.

    `Span.as_doc` copies the attributes of the whole Doc first. If there are many parts,
    groups of them are therefore copied to smaller Docs first.
    """
    if len(parts) <= _PARTS_AT_ONCE:
        yield from (doc[part].as_doc() for part in parts)
        return
    size = -(-len(parts) // _PARTS_AT_ONCE)
    for number in range(0, len(parts), size):
        group = parts[number : number + size]
        first = group[0].start
        own_parts = [slice(part.start - first, part.stop - first) for part in group]
        yield from _own_docs(doc[first : group[-1].stop].as_doc(), own_parts)


def _without_long_tokens(span: Span) -> Iterator[Span]:
    """The pieces of a span between its overlong tokens.

    A long URL, a hash, or a passage in a script that the tokenizer does not split, is a
    single token. It is not a name, and the model finds no names next to it.
    """
    start = span.start
    untyped: Any = span  # the stubs lack to_array
    # saves time: most spans are shorter than that
    if span.end_char - span.start_char > _LONGEST_URL:
        facts = (
            untyped.to_array([LENGTH, LIKE_URL, IS_ALPHA]).astype(int).reshape(-1, 3)
        )
        lengths, urls, letters = facts.T
        most = np.where(letters, LONGEST_TOKEN, _LONGEST_WITHOUT_LETTERS_ALONE)
        most = np.where(urls, _LONGEST_URL, most)
        for index in (lengths > most).nonzero()[0].tolist():
            if not urls[index]:
                _warn_of_token(span.doc.lang_, int(lengths[index]))
            yield span.doc[start : span.start + index]
            start = span.start + index + 1
    yield span.doc[start : span.end]


def _fitting(span: Span, doc_text: str, fits: FitsModel) -> Iterator[tuple[Span, str]]:
    """The pieces of a span that fit the model, with their texts; not those that are
    whitespace.

    doc_text (str): The text of the whole Doc, as windows have it.
    """
    # not span.text, which begins anew after each token
    text = doc_text[span.start_char : span.end_char]
    if not remove_spaces(text):
        return
    if fits(normalize_text(text)):
        yield span, text
    elif len(span) == 1:
        _warn_of_token(span.doc.lang_, len(text))
    else:
        middle = _best_cut(span)
        yield from _fitting(span.doc[span.start : middle], doc_text, fits)
        yield from _fitting(span.doc[middle : span.end], doc_text, fits)


def _best_cut(span: Span) -> int:
    """The token before which a span is cut: near its middle, where a sentence ends."""
    middle = (span.start + span.end) // 2
    ends = [
        token.i + 1
        for token in span[len(span) // 4 : 3 * len(span) // 4]
        if token.is_sent_end or token.text in _SENTENCE_ENDS or token.text == "\n"
    ]
    return min(ends, key=lambda end: abs(end - middle), default=middle)


def _warn_of_token(lang: str, length: int) -> None:
    """Warn of the first token of a language that is left out, once for a passage."""
    if lang not in _warned and lang not in unsplit.warned:
        _warned.add(lang)
        logger.warning(Warnings.W107.format(lang=lang, length=length))


def _get_spans(
    sections: Sequence[_Section], span_getter: SpanGetter, name: str
) -> list[list[Span]]:
    docs = [section.own_doc for section in sections]
    try:
        return span_getter(docs)
    except ZeroDivisionError as error:  # strided spans with a stride of 0
        raise ValueError(_left_out(docs[0].text, name)) from error
    except KeyError as error:
        if all(section.own_doc is section.doc for section in sections):
            raise  # it has all of the Docs
        raise ValueError(Errors.P1009.format(name=name, key=error)) from error


def _check_coverage(doc: Doc, spans: Sequence[Span], name: str) -> None:
    """Check that each token other than whitespace is in a span."""
    covered = 0
    offsets = sorted((span.start, span.end) for span in spans)
    for start, end in [*offsets, (len(doc), len(doc))]:
        if start > covered and (text := doc[covered:start].text.strip()):
            raise ValueError(_left_out(text, name))
        covered = max(covered, end)


def _left_out(text: str, name: str) -> str:
    return Errors.P119.format(name=name, text=text[:MESSAGE_LENGTH])
