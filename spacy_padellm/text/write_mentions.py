"""Write the mentions of a Doc to its span groups and entities."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from spacy.tokens import Doc, Span, SpanGroup, Token
from spacy.util import filter_spans

from spacy_padellm.mention.calibration import AS_GIVEN, Calibration, Promise
from spacy_padellm.mention.dedup import Dedup, choose_flat
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.doc_mentions import DocMentions
from spacy_padellm.text.document_memory import remember
from spacy_padellm.text.expected import expect_mentions
from spacy_padellm.text.marks import without_marks
from spacy_padellm.text.spans import KEPT, promised_key
from spacy_padellm.text.token_spans import AlignmentMode, align_tokens

Existing = Literal["overwrite", "keep"]


def write_mentions(
    doc: Doc,
    mentions: DocMentions,
    *,
    spans_key: str,
    alignment_mode: AlignmentMode,
    lowest_score: Callable[[str], float],
    calibration: Calibration = AS_GIVEN,
    existing: Existing,
    promise: Promise | None = None,
    alternatives: bool = False,
    document_memory: bool = False,
    dedup: Dedup = "on",
) -> None:
    """Write a Doc's mentions to `doc.spans[spans_key]` and `doc.ents`.

    Marks that do not belong to mentions are left out; see `without_marks`.

    The span group has all mentions in text order, also nested ones. Its attrs are
    `scores` (list[float]), `statuses` (list[str]), `places` (for each span a list of
    start character, end character and label), `dropped` (label, text and score of each
    mention that could not be aligned) and `expected` (see `expect_mentions`), and, if
    other entities were kept, so that `doc.ents` is not the flat choice, `kept` (True).

    doc (Doc): The Doc.
    mentions (DocMentions): Its mentions.
    spans_key (str): Key of the span group.
    alignment_mode (AlignmentMode): How mentions that start or end inside a token are
        aligned, as in `Doc.char_span`.
    lowest_score (Callable[[str], float]): Returns the threshold of a label. Mentions
        with a lower score after calibration are left out.
    calibration (Calibration): Applied to all scores.
    existing (Existing): Whether to overwrite or keep the Doc's entities, and its tokens
        that are blocked from being entities.
    promise (Promise | None): Its mentions are written to a span group of their own,
        `promised_key(spans_key)`, whose `dropped` has those that match no tokens.
    alternatives (bool): Whether to add `alternatives` to the group's attrs: for each
        span a list of other spans that overlap it, with other labels or edges, the
        most probable first.
    document_memory (bool): Whether names that were found raise the scores of others;
        see `remember`.
    dedup (Dedup): Which label keeps a string with several labels; for `remember`.
    """
    dropped = [
        _dropped(m.label, m.text, calibration(m.score)) for m in mentions.dropped
    ]
    calibrated = _calibrated(mentions.spans, calibration)
    text = doc.text  # joined from the tokens each time
    if document_memory:
        calibrated = remember(text, calibrated, lowest_score, dedup=dedup)
    likely = [s for s in calibrated if s.score >= lowest_score(s.label)]
    likely = without_marks(likely, text)
    order, lost = align_tokens(doc, likely, alignment_mode)
    dropped += _lost(text, lost)
    expected = expect_mentions(mentions.counts, calibrated, lowest_score)
    attrs: dict[str, Any] = {"dropped": dropped, "expected": expected}
    if alternatives:
        spans = _calibrated(mentions.alternatives, calibration)
        others, _ = align_tokens(doc, without_marks(spans, text), alignment_mode)
        attrs["alternatives"] = _alternatives(order, others)
    _write_group(doc, spans_key, order, **attrs)
    if promise is not None:
        candidates = _calibrated(mentions.candidates, calibration)
        promised = [s for s in candidates if promise.covers(s.label, s.score)]
        promised = without_marks(promised, text)
        kept, lost = align_tokens(doc, promised, alignment_mode)
        _write_group(doc, promised_key(spans_key), kept, dropped=_lost(text, lost))
    span_of = {(s.start, s.end, s.label): span for span, s in order}
    flat = choose_flat([scored for _, scored in order])
    entities = [span_of[s.start, s.end, s.label] for s in flat]
    if existing == "keep":
        blocked = [doc[token.i : token.i + 1] for token in doc if _is_blocked(token)]
        merged = _merge(doc.ents, entities, blocked=blocked)
        if {*merged} != {*entities}:
            doc.spans[spans_key].attrs[KEPT] = True
        doc.set_ents(merged, blocked=blocked)
    else:
        for token in (token for ent in doc.ents for token in ent):
            token.ent_id_ = ""  # spaCy would keep it for the new entity
        doc.set_ents(entities)


def _calibrated(
    spans: Iterable[ScoredSpan], calibration: Calibration
) -> list[ScoredSpan]:
    return [replace(span, score=calibration(span.score)) for span in spans]


def _lost(text: str, spans: Iterable[ScoredSpan]) -> list[dict[str, Any]]:
    """The mentions that match no tokens, as in a group's `dropped`."""
    return [_dropped(s.label, text[s.start : s.end], s.score) for s in spans]


def _dropped(label: str, text: str, score: float) -> dict[str, Any]:
    return {"label": label, "text": text, "score": score}


def _alternatives(
    kept: Sequence[tuple[Span, ScoredSpan]], others: Sequence[tuple[Span, ScoredSpan]]
) -> list[list[dict[str, Any]]]:
    """For each span that was kept, the others that overlap it; both in text order."""
    places = {(s.start, s.end, s.label) for _, s in kept}
    free = [(x, s) for x, s in others if (s.start, s.end, s.label) not in places]
    starts = [s.start for _, s in free]
    longest = max((s.end - s.start for _, s in free), default=0)
    found = []
    for _, scored in kept:
        # no other span reaches this one: a long Doc has thousands of them
        first = bisect_right(starts, scored.start - longest)
        near = free[first : bisect_left(starts, scored.end)]
        overlapping = [(x, s) for x, s in near if scored.start < s.end]
        overlapping.sort(key=lambda pair: -pair[1].score)
        found.append([_alternative(*pair) for pair in overlapping])
    return found


def _alternative(span: Span, scored: ScoredSpan) -> dict[str, Any]:
    places = {"start": span.start_char, "end": span.end_char}
    return {**places, "label": scored.label, "score": scored.score}


def _write_group(
    doc: Doc, key: str, order: Sequence[tuple[Span, ScoredSpan]], **attrs: Any
) -> None:
    """Write a span group with the scores of its spans."""
    attrs = {
        "scores": [scored.score for _, scored in order],
        "statuses": [scored.status for _, scored in order],
        "places": [[s.start_char, s.end_char, s.label_] for s, _ in order],
        **attrs,
    }
    spans = [span for span, _ in order]
    doc.spans[key] = SpanGroup(doc, name=key, attrs=attrs, spans=spans)


def _is_blocked(token: Token) -> bool:
    """Whether `doc.set_ents(..., blocked=...)` keeps entities from a token."""
    return token.ent_iob_ == "B" and not token.ent_type


def _merge(
    existing: Iterable[Span], new: Iterable[Span], *, blocked: Iterable[Span]
) -> list[Span]:
    """The existing entities, and the new ones that overlap none of their tokens and no
    blocked token."""
    kept = list(existing)
    taken = {token.i for span in (*kept, *blocked) for token in span}
    kept += [span for span in new if taken.isdisjoint(range(span.start, span.end))]
    return filter_spans(kept)
