"""From Docs to their mentions, with the component's model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby

from spacy.tokens import Doc

from spacy_padellm.decoding.base import Decoder, DecodeResult
from spacy_padellm.lm.handle import ModelHandle
from spacy_padellm.mention.dedup import Dedup
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.text.labels import GivenLabels, LabelsOf, own_labels
from spacy_padellm.text.span_getters import SpanGetter
from spacy_padellm.text.spans import DocMentions, place_mentions
from spacy_padellm.text.stream import DocResult, decode_docs


def find_mentions(
    docs: Iterable[Doc],
    decoder: Decoder,
    *,
    handle: ModelHandle,
    span_getter: SpanGetter,
    dedup: Dedup,
    counts: Callable[[Mention], bool],
    ready: Callable[[], Prompt],
    labels_of: LabelsOf,
) -> Iterator[tuple[Doc, DocMentions | Exception]]:
    """Find the mentions of a stream of Docs.

    docs (Iterable[Doc]): The Docs; blank ones need no model.
    decoder (Decoder): Texts and labels to mentions.
    handle (ModelHandle): The model's handle, which loads it at the first text.
    span_getter (SpanGetter): Cuts Docs into windows.
    dedup (Dedup): Of the same string under several labels.
    counts (Callable[[Mention], bool]): See `place_mentions`.
    ready (Callable[[], Prompt]): Gives the prompt, once the labels are known too.
    labels_of (LabelsOf): Gives the labels to find in a Doc.
    YIELDS (tuple[Doc, DocMentions | Exception]): Each Doc, in order, with what was
        found or what went wrong.
    """
    # Docs in a row with the same labels of their own are decoded together
    for doc_labels, run in groupby(docs, key=_own_labels):
        if isinstance(doc_labels, Exception):
            yield from ((doc, doc_labels) for doc in run)
            continue
        decode = partial(
            _decode,
            decoder=decoder,
            handle=handle,
            ready=ready,
            labels_of=partial(labels_of, doc_labels),
        )
        for read in decode_docs(run, decode, span_getter):
            yield read.doc, _placed(read, dedup, counts)


def _own_labels(doc: Doc) -> GivenLabels | Exception | None:
    """A Doc's own labels, or what is wrong with them."""
    try:
        return own_labels(doc)
    except Exception as error:
        return error


def _placed(
    read: DocResult, dedup: Dedup, counts: Callable[[Mention], bool]
) -> DocMentions | Exception:
    if read.error is not None:
        return read.error
    try:
        placed = place_mentions(
            [read.doc], read.windows, read.mentions, dedup=dedup, counts=counts
        )
    except Exception as error:
        return error
    return placed[0]


def _decode(
    texts: Iterable[str],
    *,
    decoder: Decoder,
    handle: ModelHandle,
    ready: Callable[[], Prompt],
    labels_of: Callable[[], dict[str, str]],
) -> Iterator[DecodeResult]:
    texts = iter(texts)
    first = next(texts, None)
    if first is None:
        return  # blank Docs need no model
    prompt = ready()
    labels = labels_of()
    texts = chain((first,), texts)
    if not labels:  # the Doc asks for none
        yield from ([] for _ in texts)
        return
    if not decoder.needs_weights:
        yield from decoder.stream(None, handle.client_tokens(prompt), texts, labels)
        return
    lm = handle.lm()
    lm.model.eval()
    yield from decoder.stream(lm, lm.tokens_of(prompt), texts, labels)
