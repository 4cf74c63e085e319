"""Convert records to annotated Docs, without losing mentions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from spacy_padellm.corpora.records import CharSpan, CorpusRecord
from spacy_padellm.text.tokenizing import tokenize


def make_doc(nlp: Language, record: CorpusRecord) -> tuple[Doc, bool]:
    """Make the Doc of a record, with tokens split at the boundaries of mentions.

    nlp (Language): The pipeline, whose tokenizer and vocab are used.
    record (CorpusRecord): A record of `trim_spans`.
    RETURNS (tuple[Doc, bool]): The Doc, not yet annotated, with `doc.text` equal to
        `record.text`, and whether a token was split.
    RAISES (TokenizingError): If the text cannot be tokenized.
    """
    if record.words is None:
        doc = tokenize(nlp, record.text)
    else:
        doc = Doc(nlp.vocab, words=record.words, spaces=record.spaces)
    edges = {edge for start, end, _ in record.spans for edge in (start, end)}
    words: list[str] = []
    spaces: list[bool] = []
    for token in doc:
        end = token.idx + len(token)
        inner = [i for i in range(token.idx + 1, end) if i in edges]
        pieces = [record.text[i:j] for i, j in pairwise((token.idx, *inner, end))]
        words.extend(pieces)
        spaces.extend([False] * (len(pieces) - 1) + [bool(token.whitespace_)])
    if len(words) == len(doc):
        return doc, False
    return Doc(nlp.vocab, words=words, spaces=spaces), True


def set_mentions(doc: Doc, spans: Sequence[CharSpan], *, spans_key: str | None) -> None:
    """Set the mentions of a Doc. A Doc without mentions is marked as annotated.

    doc (Doc): A Doc with token boundaries at every start and end; changed in place.
    spans (Sequence[CharSpan]): The mentions, without duplicates.
    spans_key (str | None): The key of `doc.spans` for all mentions; None for no group.
        `doc.ents` gets the mentions that do not overlap; longer ones are preferred.
    """
    first = {token.idx: token.i for token in doc}
    after = {token.idx + len(token): token.i + 1 for token in doc}
    mentions = [Span(doc, first[s], after[e], label=label) for s, e, label in spans]
    if spans_key is not None:
        doc.spans[spans_key] = mentions
    doc.set_ents(filter_spans(mentions))


def first_overlap(spans: Sequence[CharSpan]) -> tuple[CharSpan, CharSpan] | None:
    """Find two mentions that share a character.

    spans (Sequence[CharSpan]): The mentions, sorted.
    RETURNS (tuple[CharSpan, CharSpan] | None): The first such pair, if there is one.
    """
    return next((pair for pair in pairwise(spans) if pair[1][0] < pair[0][1]), None)


def count_overlaps(spans: Sequence[CharSpan]) -> Counter[str]:
    """Count the mentions that overlap others.

    spans (Sequence[CharSpan]): The mentions, without duplicates.
    RETURNS (Counter[str]): The number of mentions by kind: "nested" (inside a longer
        one), "crossing" (partly overlaps another), "labelled twice" (same offsets as
        one with another label). A mention can have several kinds.
    """
    kinds: Counter[str] = Counter()
    for start, end, label in spans:
        kinds_of_span: set[str] = set()
        for other_start, other_end, other_label in spans:
            if (start, end) == (other_start, other_end):
                kinds_of_span.update(["labelled twice"] if label != other_label else [])
            elif other_start <= start and end <= other_end:
                kinds_of_span.add("nested")
            elif not (start <= other_start and other_end <= end) and (
                other_start < end and start < other_end
            ):
                kinds_of_span.add("crossing")
        kinds.update(kinds_of_span)
    return kinds
