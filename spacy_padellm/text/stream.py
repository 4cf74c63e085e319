"""A stream of Docs through a decoder: in order, and an error costs only its Doc."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from spacy.tokens import Doc

from spacy_padellm.decoding.base import DecodeResult
from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.windows import CutWindows, Window

# batch size from which `PaDeLLMNER.pipe` does not cut a stream into batches
STREAM_FROM = 256
# Docs without a text that are read before those that were read are yielded
MOST_WITHOUT_TEXT = 512
# texts -> the mentions of each, or its error
Decode = Callable[[Iterable[str]], Iterator[DecodeResult]]


@dataclass(eq=False, slots=True)
class DocResult:
    """A Doc and the mentions of its windows that were decoded so far.

    Windows with the same text, such as the cells of a table, are decoded once.

    texts (dict[str, int]): Each different text of a window, with its index in
        `decoded`.
    indices (list[int]): The index in `decoded` of each window's text.
    decoded (list[list[Mention]]): The mentions of each text.
    error (Exception | None): Why the Doc could not be decoded.
    """

    doc: Doc
    windows: list[Window] = field(default_factory=list)
    texts: dict[str, int] = field(default_factory=dict)
    indices: list[int] = field(default_factory=list)
    decoded: list[list[Mention]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def complete(self) -> bool:
        """Whether all windows are decoded, or the Doc has an error."""
        return self.error is not None or len(self.decoded) == len(self.texts)

    @property
    def mentions(self) -> list[list[Mention]]:
        """The mentions of each window."""
        return [self.decoded[index] for index in self.indices]


def decode_docs(
    docs: Iterable[Doc], decode: Decode, cut: CutWindows
) -> Iterator[DocResult]:
    """Decode the windows of a stream of Docs.

    docs (Iterable[Doc]): The Docs.
    decode (Decode): Decodes a stream of texts.
    cut (CutWindows): Cuts Docs into windows.
    YIELDS (DocResult): Each Doc, in order. If the decoder itself fails, the Docs that
        it was working on are decoded again one by one.
    RAISES (Exception): Errors of the stream of Docs.
    """
    source = _DocSource(docs)
    while not source.ended:
        pending: deque[DocResult] = deque()
        try:
            yield from _decode(source, pending, decode, cut)
            continue
        except _DecoderError:
            pass  # its traceback holds the decoder's memory until here
        for result in list(pending):
            yield _decode_alone(result.doc, decode, cut)
    if source.error is not None:
        raise source.error


class _DecoderError(Exception):
    """The decoder failed, and not for a single text."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _DocSource:
    """A stream of Docs that keeps its error, so that it is not taken for the
    decoder's."""

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


def _decode(
    source: Iterable[Doc],
    pending: deque[DocResult],
    decode: Decode,
    cut: CutWindows,
) -> Iterator[DocResult]:
    """Decode Docs; those that were taken, but not yielded yet, are in `pending`."""
    decoding: deque[DocResult] = deque()  # the Doc of each window in the decoder

    def texts() -> Iterator[str]:
        without_text = 0
        for doc in source:
            result = DocResult(doc)
            pending.append(result)
            try:
                result.windows = cut([doc])
            except Exception as error:
                result.error = error
            for window in result.windows:
                text = normalize_text(window.text)
                index = result.texts.setdefault(text, len(result.texts))
                result.indices.append(index)
            decoding.extend([result] * len(result.texts))
            yield from result.texts
            without_text = 0 if result.texts else without_text + 1
            if without_text == MOST_WITHOUT_TEXT:
                return  # a decoder that waits for a text yields nothing

    decoded = decode(texts())
    while True:
        try:
            mentions = next(decoded)
        except StopIteration:
            break
        except Exception as error:
            raise _DecoderError(error) from error
        result = decoding.popleft()
        if isinstance(mentions, Exception):
            result.error = result.error or mentions
        else:
            result.decoded.append(mentions)
        while pending and pending[0].complete:
            yield pending.popleft()
    yield from pending
    pending.clear()


def _decode_alone(doc: Doc, decode: Decode, cut: CutWindows) -> DocResult:
    try:
        (result,) = _decode([doc], deque(), decode, cut)
    except _DecoderError as failure:
        return DocResult(doc, error=failure.error)
    return result
