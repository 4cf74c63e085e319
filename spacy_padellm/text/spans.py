"""Spans and entities of a Doc from the mentions of its windows."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Span, SpanGroup, Token
from spacy.util import filter_spans

from spacy_padellm.mention.calibration import AS_GIVEN, Calibration, Promise
from spacy_padellm.mention.dedup import Dedup, choose_flat, deduplicate
from spacy_padellm.mention.mention import Mention, ScoredSpan, TextMentions
from spacy_padellm.text.align import align
from spacy_padellm.text.expected import WindowCounts, expect_mentions
from spacy_padellm.text.windows import Window

AlignmentMode = Literal["strict", "contract", "expand"]
Existing = Literal["overwrite", "keep"]


@dataclass(slots=True)
class DocMentions:
    """The mentions of a Doc.

    spans (list[ScoredSpan]): Those with their offsets in the Doc.
    dropped (list[Mention]): Those that are not in the text.
    counts (list[WindowCounts]): What the decoder knows about the number of mentions.
    candidates (list[ScoredSpan]): The spans if no mention were below its threshold;
        only filled for a model with a promise.
    alternatives (list[ScoredSpan]): The spans of all labels and of any score; only
        filled on request.
    """

    spans: list[ScoredSpan] = field(default_factory=list)
    dropped: list[Mention] = field(default_factory=list)
    counts: list[WindowCounts] = field(default_factory=list)
    candidates: list[ScoredSpan] = field(default_factory=list)
    alternatives: list[ScoredSpan] = field(default_factory=list)


def align_mentions(
    docs: Sequence[Doc],
    windows: Sequence[Window],
    mentions: Sequence[Sequence[Mention]],
    *,
    dedup: Dedup,
    passes_threshold: Callable[[Mention], bool] = lambda mention: True,
) -> list[DocMentions]:
    """Align the mentions of all windows to their Docs.

    docs (Sequence[Doc]): The Docs.
    windows (Sequence[Window]): Their windows.
    mentions (Sequence[Sequence[Mention]]): The mentions of each window.
    dedup (Dedup): Which labels keep a string with several labels, in each window.
    passes_threshold (Callable[[Mention], bool]): Whether a mention is likely enough.
        Others do not take a string from another label.
    RETURNS (list[DocMentions]): One for each Doc, its spans in text order.
    """
    results = [DocMentions() for _ in docs]
    cut: list[ScoredSpan] = []  # those that end where the previous window ends
    for number, (window, decoded) in enumerate(zip(windows, mentions, strict=True)):
        previous, cut = cut, []
        if isinstance(decoded, TextMentions):
            reach = window.start, window.start + len(window.text)
            results[window.doc].counts.append(WindowCounts(*reach, decoded.at_least))
        if not decoded:
            continue
        kept = deduplicate(decoded, dedup, counts=passes_threshold)
        span: Any = window.span  # spaCy's stubs lack to_array
        offsets, lengths = span.to_array([IDX, LENGTH]).astype(int).T
        starts = set((offsets - window.start).tolist())
        ends = set((offsets + lengths - window.start).tolist())
        result = results[window.doc]
        first, end = window.start_range
        last = window.start + len(window.text.rstrip())
        continued = number + 1 < len(windows) and windows[number + 1].doc == window.doc
        for aligned in align(kept, window.text, starts=starts, ends=ends):
            if aligned.start is None or aligned.end is None:
                result.dropped.append(aligned.mention)
                continue
            scored = ScoredSpan(
                start=aligned.start + window.start,
                end=aligned.end + window.start,
                label=aligned.mention.label,
                score=aligned.mention.score,
                status=aligned.status,
            )
            if first <= scored.start < end:
                result.spans.append(scored)
                if continued and scored.end >= last:
                    cut.append(scored)
            elif passes_threshold(aligned.mention):
                # the previous window may hold only its beginning
                parts = [part for part in previous if _extends(scored, part)]
                if parts:
                    result.spans = [s for s in result.spans if s not in parts]
                    result.spans.append(scored)
    return results


def _extends(longer: ScoredSpan, part: ScoredSpan) -> bool:
    """Whether a mention covers another one of the same label, and ends after it."""
    same = longer.label == part.label
    return same and longer.start <= part.start and part.end < longer.end


def annotate(
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
) -> None:
    """Write a Doc's mentions to `doc.spans[spans_key]` and `doc.ents`.

    The span group has all mentions in text order, also nested ones. Its attrs are
    `scores` (list[float]), `statuses` (list[str]), `places` (for each span a list of
    start character, end character and label), `dropped` (label, text and score of each
    mention that could not be aligned) and `expected` (see `expect_mentions`).

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
        `promised_key(spans_key)`.
    alternatives (bool): Whether to add `alternatives` to the group's attrs: for each
        span a list of other spans that overlap it, with other labels or edges, the
        most probable first.
    """
    dropped = [(m.label, m.text, calibration(m.score)) for m in mentions.dropped]
    calibrated = [replace(s, score=calibration(s.score)) for s in mentions.spans]
    likely = [s for s in calibrated if s.score >= lowest_score(s.label)]
    order, lost = _in_tokens(doc, likely, alignment_mode)
    dropped += [(s.label, doc.text[s.start : s.end], s.score) for s in lost]
    shown = [{"label": label, "text": text, "score": s} for label, text, s in dropped]
    expected = expect_mentions(mentions.counts, calibrated, lowest_score)
    attrs: dict[str, Any] = {"dropped": shown, "expected": expected}
    if alternatives:
        calibrated = [
            replace(s, score=calibration(s.score)) for s in mentions.alternatives
        ]
        others, _ = _in_tokens(doc, calibrated, alignment_mode)
        attrs["alternatives"] = _alternatives(order, others)
    _write_group(doc, spans_key, order, **attrs)
    if promise is not None:
        calibrated = [
            replace(s, score=calibration(s.score)) for s in mentions.candidates
        ]
        promised = [s for s in calibrated if promise.covers(s.label, s.score)]
        kept, _ = _in_tokens(doc, promised, alignment_mode)
        _write_group(doc, promised_key(spans_key), kept)
    span_of = {(s.start, s.end, s.label): span for span, s in order}
    flat = choose_flat([scored for _, scored in order])
    entities = [span_of[s.start, s.end, s.label] for s in flat]
    if existing == "keep":
        blocked = [doc[token.i : token.i + 1] for token in doc if _is_blocked(token)]
        entities = _merge(doc.ents, entities, blocked=blocked)
        doc.set_ents(entities, blocked=blocked)
    else:
        for token in (token for ent in doc.ents for token in ent):
            token.ent_id_ = ""  # spaCy would keep it for the new entity
        doc.set_ents(entities)


def promised_key(spans_key: str) -> str:
    """The key of the span group with the mentions of a promise.

    spans_key (str): The component's key.
    """
    return f"{spans_key}_promised"


def _in_tokens(
    doc: Doc, spans: Iterable[ScoredSpan], alignment_mode: AlignmentMode
) -> tuple[list[tuple[Span, ScoredSpan]], list[ScoredSpan]]:
    """Align spans of characters with the tokens of their Doc.

    RETURNS (tuple[list[tuple[Span, ScoredSpan]], list[ScoredSpan]]): In text order,
        each span with its offsets in tokens; and those that match no tokens.
    """
    aligned: dict[tuple[int, int, str], tuple[Span, ScoredSpan]] = {}
    lost = []
    for scored in spans:
        span = doc.char_span(
            scored.start,
            scored.end,
            label=scored.label,
            alignment_mode=alignment_mode,
        )
        if span is None or not len(span) or _mixes_scripts(span, scored):
            lost.append(scored)
            continue
        key = (span.start, -span.end, scored.label)
        if key not in aligned or aligned[key][1].score < scored.score:
            # with the span's offsets in tokens, also where it was expanded
            aligned[key] = (span, replace(scored, start=span.start, end=span.end))
    return [aligned[key] for key in sorted(aligned)], lost


def _alternatives(
    kept: Sequence[tuple[Span, ScoredSpan]], others: Sequence[tuple[Span, ScoredSpan]]
) -> list[list[dict[str, Any]]]:
    """For each span that was kept, the others that overlap it."""
    places = {(s.start, s.end, s.label) for _, s in kept}
    ordered = sorted(others, key=lambda pair: -pair[1].score)
    free = [(x, s) for x, s in ordered if (s.start, s.end, s.label) not in places]
    return [
        [
            {
                "start": span.start_char,
                "end": span.end_char,
                "label": other.label,
                "score": other.score,
            }
            for span, other in free
            if other.start < scored.end and scored.start < other.end
        ]
        for _, scored in kept
    ]


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


def _mixes_scripts(span: Span, scored: ScoredSpan) -> bool:
    """Whether a mention was expanded from one script to another.

    The tokenizer of another language takes "Merkel在Berlin" for one token.
    """
    if span.start_char == scored.start and span.end_char == scored.end:
        return False
    text, first = span.text, span.start_char
    start, end = scored.start - first, scored.end - first
    edges = [(start - 1, start)] if start > 0 else []
    edges += [(end - 1, end)] if end < len(text) else []
    scripts = [(_script(text[a]), _script(text[b])) for a, b in edges]
    return any(a and b and a != b for a, b in scripts)


def _script(char: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN or CJK."""
    return unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else ""


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


def gold_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """A gold Doc's mentions; None if it is not annotated, or only partly."""
    if spans_key in doc.spans:
        # a repeated span is one mention
        return list(dict.fromkeys(doc.spans[spans_key]))
    if all(token.ent_iob for token in doc) and len(doc):
        return list(doc.ents)
    return None


def get_score(span: Span) -> float | None:
    """The probability of a predicted span: `span._.padellm_score`.

    RETURNS (float | None): None if the component did not predict it with this label.
    """
    place = [span.start_char, span.end_char, span.label_]
    for group in span.doc.spans.values():
        # unlike the group's spans, characters do not change if tokens are merged
        places = group.attrs.get("places")
        if places is None or len(places) != len(group):
            continue  # not written by the component, or changed since
        first = bisect_left(places, place[:1])
        end = bisect_left(places, [span.start_char + 1])
        if place in places[first:end]:
            index = places.index(place, first, end)
            return float(group.attrs["scores"][index])
    return None


if not Span.has_extension("padellm_score"):
    Span.set_extension("padellm_score", getter=get_score)
