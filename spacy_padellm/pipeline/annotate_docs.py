"""The mentions of a stream of Docs, found with the component's model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain, groupby

from spacy.tokens import Doc

from spacy_padellm.decoding.base import DecodeJob, Decoder, DecodeResult
from spacy_padellm.decoding.fits import Fits
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.text.doc_mentions import DocMentions, align_mentions
from spacy_padellm.text.labels import DocLabels, ResolveLabels, get_doc_labels
from spacy_padellm.text.stream import DocResult, decode_docs
from spacy_padellm.text.windows import Window


def find_mentions(
    docs: Iterable[Doc],
    decoder: Decoder,
    *,
    handle: ModelHandle,
    cut: Callable[..., list[Window]],
    dedup: Dedup,
    passes_threshold: Callable[[Mention], bool],
    get_prompt: Callable[[], Prompt],
    resolve_labels: ResolveLabels,
    promised: bool = False,
    alternatives: bool = False,
) -> Iterator[tuple[Doc, DocMentions | Exception]]:
    """Find the mentions of a stream of Docs.

    docs (Iterable[Doc]): The Docs. Empty ones do not load the model.
    decoder (Decoder): Finds the mentions of texts.
    handle (ModelHandle): The model's handle. The model is loaded at the first text.
    cut (Callable[..., list[Window]]): Cuts Docs into windows that fit the model, with
        the argument `fits` of `make_windows`.
    dedup (Dedup): Which labels keep a string with several labels.
    passes_threshold (Callable[[Mention], bool]): See `align_mentions`.
    get_prompt (Callable[[], Prompt]): Returns the prompt, and raises an error if the
        component has no labels.
    resolve_labels (ResolveLabels): Returns the labels to find in a Doc.
    promised (bool): Whether to fill `DocMentions.candidates`.
    alternatives (bool): Whether to fill `DocMentions.alternatives`.
    YIELDS (tuple[Doc, DocMentions | Exception]): Each Doc, in order, with its mentions
        or its error.
    """
    align = partial(
        _align,
        dedup=dedup,
        passes_threshold=passes_threshold,
        promised=promised,
        alternatives=alternatives,
    )
    # consecutive Docs with the same labels are decoded together
    for doc_labels, run in groupby(docs, key=_doc_labels_or_error):
        if isinstance(doc_labels, Exception):
            yield from ((doc, doc_labels) for doc in run)
            continue
        get_job = cache(
            partial(
                _make_job,
                decoder=decoder,
                handle=handle,
                get_prompt=get_prompt,
                get_labels=partial(resolve_labels, doc_labels),
            )
        )
        decode = partial(_decode, decoder=decoder, get_job=get_job)
        fits = Fits(get_job, decoder=decoder)
        for result in decode_docs(run, decode, partial(cut, fits=fits)):
            yield result.doc, align(result)


def _doc_labels_or_error(doc: Doc) -> DocLabels | Exception | None:
    try:
        return get_doc_labels(doc)
    except Exception as error:
        return error


def _align(
    result: DocResult,
    *,
    dedup: Dedup,
    passes_threshold: Callable[[Mention], bool],
    promised: bool,
    alternatives: bool,
) -> DocMentions | Exception:
    if result.error is not None:
        return result.error
    align = partial(align_mentions, [result.doc], result.windows, result.mentions)
    try:
        (mentions,) = align(dedup=dedup, passes_threshold=passes_threshold)
        if promised:
            mentions.candidates = align(dedup=dedup)[0].spans
        if alternatives:
            mentions.alternatives = align(dedup="off")[0].spans
    except Exception as error:
        return error
    return mentions


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


def _make_job(
    *,
    decoder: Decoder,
    handle: ModelHandle,
    get_prompt: Callable[[], Prompt],
    get_labels: Callable[[], dict[str, str]],
) -> DecodeJob:
    prompt = get_prompt()
    labels = get_labels()
    if not decoder.needs_weights:
        return DecodeJob(handle.client_tokens(prompt), labels)
    lm = handle.lm()
    return DecodeJob(lm.tokens_of(prompt), labels, lm)
