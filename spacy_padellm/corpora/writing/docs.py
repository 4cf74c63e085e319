"""Convert records to annotated Docs, without losing mentions."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TypeAlias

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from spacy_padellm.corpora.records import CharSpan, CorpusRecord
from spacy_padellm.text.tokenizing import tokenize

Offsets: TypeAlias = tuple[int, int]  # the start and the end of a mention


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
    labels = Counter((start, end) for start, end, _ in spans)
    mirrored = {(-end, -start) for start, end in labels}
    left = {(-start, -end) for end, start in _cut_at_the_end(mirrored)}
    crossing = _cut_at_the_end(labels) | left
    nested = _inside_others(labels)
    kinds: Counter[str] = Counter()
    for start, end, _ in spans:
        offsets = start, end
        kinds["labelled twice"] += labels[offsets] > 1
        kinds["nested"] += offsets in nested
        kinds["crossing"] += offsets in crossing
    return +kinds


def _inside_others(offsets: Collection[Offsets]) -> set[Offsets]:
    """The mentions that are inside a longer one."""
    inside: set[Offsets] = set()
    furthest = -math.inf
    # what is around a mention comes before it
    for start, end in sorted(offsets, key=lambda pair: (pair[0], -pair[1])):
        if end <= furthest:
            inside.add((start, end))
        furthest = max(furthest, end)
    return inside


def _cut_at_the_end(offsets: Collection[Offsets]) -> set[Offsets]:
    """The mentions in which another one starts that ends after them."""
    cut: set[Offsets] = set()
    # of the mentions so far, those that end after all that start before them
    starts: list[int] = []  # negated, as the last ones come first
    ends: list[int] = []
    for start, end in sorted(offsets, key=lambda pair: (-pair[0], pair[1])):
        index = bisect_right(starts, -end)
        if index < len(ends) and ends[index] > end:
            cut.add((start, end))
        while ends and ends[-1] <= end:
            starts.pop()
            ends.pop()
        starts.append(-start)
        ends.append(end)
    return cut
