"""A stream of Docs through a decoder: in order, and none lost for another's sake."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from spacy.tokens import Doc

from spacy_padellm.decoding.base import DecodeResult
from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.span_getters import SpanGetter
from spacy_padellm.text.windows import Window, make_windows

# texts -> what was found in each
Decode = Callable[[Iterable[str]], Iterator[DecodeResult]]


@dataclass(eq=False, slots=True)
class DocResult:
    """A Doc and what the decoder found in its windows so far.

    error (Exception | None): What went wrong with the Doc.
    """

    doc: Doc
    windows: list[Window] = field(default_factory=list)
    mentions: list[list[Mention]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def complete(self) -> bool:
        return self.error is not None or len(self.mentions) == len(self.windows)


def decode_docs(
    docs: Iterable[Doc], decode: Decode, span_getter: SpanGetter
) -> Iterator[DocResult]:
    """Decode the windows of a stream of Docs.

    docs (Iterable[Doc]): The Docs.
    decode (Decode): Decodes a stream of texts.
    span_getter (SpanGetter): Cuts Docs into windows.
    YIELDS (DocResult): Each Doc, in order. Where the decoder fails as a whole, the Docs
        that it was at are decoded again one by one.
    RAISES (Exception): What the stream of Docs raises.
    """
    source = _DocSource(docs)
    while not source.ended:
        pending: deque[DocResult] = deque()
        try:
            yield from _read(source, pending, decode, span_getter)
            continue
        except _Failed:
            pass  # its traceback holds the decoder's memory until here
        for read in list(pending):
            yield _read_alone(read.doc, decode, span_getter)
    if source.error is not None:
        raise source.error


class _Failed(Exception):
    """The decoder failed as a whole."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _DocSource:
    """A stream whose own error is kept apart from the decoder's."""

    def __init__(self, docs: Iterable[Doc]) -> None:
        self._docs = iter(docs)
        self.ended = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Doc]:
        while not self.ended:
            try:
                yield next(self._docs)
            except StopIteration:
                self.ended = True
            except Exception as error:
                self.ended, self.error = True, error


def _read(
    source: Iterable[Doc],
    pending: deque[DocResult],
    decode: Decode,
    span_getter: SpanGetter,
) -> Iterator[DocResult]:
    decoding: deque[DocResult] = deque()  # once for each window that is not decoded

    def texts() -> Iterator[str]:
        for doc in source:
            read = DocResult(doc)
            pending.append(read)
            try:
                read.windows = make_windows([doc], span_getter)
            except Exception as error:
                read.error = error
            decoding.extend([read] * len(read.windows))
            yield from (normalize_text(window.text) for window in read.windows)

    found = decode(texts())
    while True:
        try:
            mentions = next(found)
        except StopIteration:
            break
        except Exception as error:
            raise _Failed(error) from error
        read = decoding.popleft()
        if isinstance(mentions, Exception):
            read.error = read.error or mentions
        else:
            read.mentions.append(mentions)
        while pending and pending[0].complete:
            yield pending.popleft()
    yield from pending
    pending.clear()


def _read_alone(doc: Doc, decode: Decode, span_getter: SpanGetter) -> DocResult:
    try:
        (read,) = _read([doc], deque(), decode, span_getter)
    except _Failed as failure:
        return DocResult(doc, error=failure.error)
    return read
