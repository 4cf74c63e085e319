"""A stream of Docs, each with labels of its own, through a decoder and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby

from spacy.tokens import Doc

from spacy_padellm.decoding.base import DecodeJob, Decoder, DecodeResult
from spacy_padellm.decoding.fits import Fits
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.doc_mentions import DocMentions, align_mentions
from spacy_padellm.text.labels import DocLabels, get_doc_labels
from spacy_padellm.text.stream import DocResult, decode_docs
from spacy_padellm.text.windows import Window

_KEPT_SECONDS = 10  # until a model that could not be loaded is tried again


def decode_by_labels(
    docs: Iterable[Doc],
    decoder: Decoder,
    *,
    make_job: Callable[[DocLabels | None], DecodeJob],
    cut: Callable[..., list[Window]],
) -> Iterator[DocResult]:
    """Decode a stream of Docs; consecutive ones with the same labels together.

    docs (Iterable[Doc]): The Docs.
    decoder (Decoder): Finds the mentions of texts.
    make_job (Callable[[DocLabels | None], DecodeJob]): Returns the model with its
        prompt and the labels to find in Docs with these labels of their own. Called at
        the first text: empty Docs do not load the model.
    cut (Callable[..., list[Window]]): Cuts Docs into windows for which the argument
        `fits` is true.
    YIELDS (DocResult): Each Doc, in order, with its mentions or its error.
    """
    for doc_labels, run in groupby(docs, key=_doc_labels_or_error):
        if isinstance(doc_labels, Exception):
            yield from (DocResult(doc, error=doc_labels) for doc in run)
            continue
        get_job = _OneJob(partial(make_job, doc_labels))
        decode = partial(_decode, decoder=decoder, get_job=get_job)
        fits = Fits(get_job, decoder=decoder)
        yield from decode_docs(run, decode, partial(cut, fits=fits))


class _OneJob:
    """Makes what Docs are decoded with once. An error is kept for some seconds."""

    def __init__(self, make: Callable[[], DecodeJob]) -> None:
        self._make = make
        self._job: DecodeJob | None = None
        self._error: Exception | None = None
        self._failed = 0.0  # when, in seconds

    def __call__(self) -> DecodeJob:
        if self._job is not None:
            return self._job
        if self._error is not None and time.monotonic() - self._failed < _KEPT_SECONDS:
            raise self._error.with_traceback(None)
        try:
            self._job = self._make()
        except Exception as error:
            self._error, self._failed = error, time.monotonic()
            raise
        return self._job


def _doc_labels_or_error(doc: Doc) -> DocLabels | Exception | None:
    try:
        return get_doc_labels(doc)
    except Exception as error:
        return error


def _decode(
    texts: Iterable[str], *, decoder: Decoder, get_job: Callable[[], DecodeJob]
) -> Iterator[DecodeResult]:
    texts = iter(texts)
    first = next(texts, None)
    if first is None:
        return  # empty Docs do not need the model
    job = get_job()
    texts = chain((first,), texts)
    if not job.labels:  # the Doc's labels are an empty list
        yield from ([] for _ in texts)
        return
    yield from decoder.stream(job, texts)


def align_result(
    result: DocResult,
    *,
    dedup: Dedup,
    get_passes_threshold: Callable[[], Callable[[Mention], bool]],
    promised: bool,
    alternatives: bool,
) -> DocMentions | Exception:
    """The mentions of a Doc at their places in its text.

    result (DocResult): The Doc with the mentions of its windows.
    dedup (Dedup): Which labels keep a string with several labels.
    get_passes_threshold (Callable[[], Callable]): Returns `passes_threshold` of
        `align_mentions`. Called once: thresholds are looked up in many settings.
    promised (bool): Whether to fill `DocMentions.candidates`.
    alternatives (bool): Whether to fill `DocMentions.alternatives`.
    RETURNS (DocMentions | Exception): The mentions, or the Doc's error.
    """
    if result.error is not None:
        return result.error
    align = partial(align_mentions, [result.doc], result.windows, result.mentions)
    try:
        (mentions,) = align(dedup=dedup, passes_threshold=get_passes_threshold())
        if promised:
            mentions.candidates = align(dedup=dedup)[0].spans
        if alternatives:
            mentions.alternatives = align(dedup="off")[0].spans
    except Exception as error:
        return error
    return mentions
