"""From a window's mentions to spans of its Doc."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Span, SpanGroup, Token
from spacy.util import filter_spans

from spacy_padellm.mention.calibration import AS_GIVEN, Calibration
from spacy_padellm.mention.dedup import Dedup, choose_flat, deduplicate
from spacy_padellm.mention.mention import Mention, ScoredSpan
from spacy_padellm.text.align import align
from spacy_padellm.text.windows import Window

AlignmentMode = Literal["strict", "contract", "expand"]
Existing = Literal["overwrite", "keep"]


@dataclass(slots=True)
class DocMentions:
    """What was found in a Doc: spans by characters, and what fits nowhere."""

    spans: list[ScoredSpan] = field(default_factory=list)
    dropped: list[Mention] = field(default_factory=list)


def place_mentions(
    docs: Sequence[Doc],
    windows: Sequence[Window],
    mentions: Sequence[Sequence[Mention]],
    *,
    dedup: Dedup,
    counts: Callable[[Mention], bool] = lambda mention: True,
) -> list[DocMentions]:
    """Align the mentions of all windows to their Docs.

    docs (Sequence[Doc]): The Docs.
    windows (Sequence[Window]): Their windows.
    mentions (Sequence[Sequence[Mention]]): Of each window.
    dedup (Dedup): Of the same string under several labels, in each window.
    counts (Callable[[Mention], bool]): Whether a mention will not be left out as too
        unlikely: those that are leave strings to others.
    RETURNS (list[DocMentions]): For each Doc; its spans in text order.
    """
    found = [DocMentions() for _ in docs]
    cut: list[ScoredSpan] = []  # those of the window before that reach its end
    for place, (window, raw) in enumerate(zip(windows, mentions, strict=True)):
        before, cut = cut, []
        if not raw:
            continue
        kept = deduplicate(raw, dedup, counts=counts)
        span: Any = window.span  # spaCy's stubs lack to_array
        places, lengths = span.to_array([IDX, LENGTH]).astype(int).T
        starts = set((places - window.start).tolist())
        ends = set((places + lengths - window.start).tolist())
        result = found[window.doc]
        first, end = window.owned
        last = window.start + len(window.text.rstrip())
        goes_on = place + 1 < len(windows) and windows[place + 1].doc == window.doc
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
                if goes_on and scored.end >= last:
                    cut.append(scored)
            elif counts(aligned.mention):
                # the window before may have shown only its beginning
                parts = [part for part in before if _covers(scored, part)]
                if parts:
                    result.spans = [s for s in result.spans if s not in parts]
                    result.spans.append(scored)
    return found


def _covers(whole: ScoredSpan, part: ScoredSpan) -> bool:
    """Whether a mention is another one of its label, and goes on after it."""
    same = whole.label == part.label
    return same and whole.start <= part.start and part.end < whole.end


def annotate(
    doc: Doc,
    found: DocMentions,
    *,
    spans_key: str,
    alignment_mode: AlignmentMode,
    lowest_score: Callable[[str], float],
    calibration: Calibration = AS_GIVEN,
    existing: Existing,
) -> None:
    """Write a Doc's mentions to `doc.spans[spans_key]` and `doc.ents`.

    The span group has all mentions in text order, nested ones too, and in its attrs
    `scores` (list[float]), `statuses` (list[str]), `places` (each a list of the first
    character, the one after the last, and the label) and `dropped`, a list of the
    label, text and score of the mentions that could not be aligned.

    alignment_mode (AlignmentMode): What becomes of mentions that cut tokens.
    lowest_score (Callable[[str], float]): Of mentions of a label. What is below is left
        out altogether.
    calibration (Calibration): What becomes of scores first.
    existing (Existing): Whether entities that are there already, and tokens that are
        blocked from being entities, give way.
    """
    placed: dict[tuple[int, int, str], tuple[Span, ScoredSpan]] = {}
    dropped = [(m.label, m.text, calibration(m.score)) for m in found.dropped]
    for scored in found.spans:
        score = calibration(scored.score)
        if score < lowest_score(scored.label):
            continue
        span = doc.char_span(
            scored.start,
            scored.end,
            label=scored.label,
            alignment_mode=alignment_mode,
        )
        if span is None or not len(span):
            text = doc.text[scored.start : scored.end]
            dropped.append((scored.label, text, score))
            continue
        start, end = span.start, span.end
        key = (start, -end, scored.label)
        if key not in placed or placed[key][1].score < score:
            # a mention that was widened or narrowed stands where its span stands
            fitted = ScoredSpan(start, end, scored.label, score, scored.status)
            placed[key] = (span, fitted)
    order = [placed[key] for key in sorted(placed)]
    attrs: dict[str, Any] = {
        "scores": [scored.score for _, scored in order],
        "statuses": [scored.status for _, scored in order],
        "places": [[s.start_char, s.end_char, s.label_] for s, _ in order],
        "dropped": [
            {"label": label, "text": text, "score": score}
            for label, text, score in dropped
        ],
    }
    spans = [span for span, _ in order]
    doc.spans[spans_key] = SpanGroup(doc, name=spans_key, attrs=attrs, spans=spans)
    by_place = {(s.start, s.end, s.label): span for span, s in order}
    flat = choose_flat([scored for _, scored in order])
    chosen = [by_place[s.start, s.end, s.label] for s in flat]
    if existing == "keep":
        blocked = [doc[token.i : token.i + 1] for token in doc if _is_blocked(token)]
        chosen = _merged(doc.ents, chosen, blocked=blocked)
        doc.set_ents(chosen, blocked=blocked)
    else:
        for token in (token for ent in doc.ents for token in ent):
            token.ent_id_ = ""  # spaCy would leave it to the new entity
        doc.set_ents(chosen)


def _is_blocked(token: Token) -> bool:
    """Whether `doc.set_ents(..., blocked=...)` keeps entities from a token."""
    return token.ent_iob_ == "B" and not token.ent_type


def _merged(
    existing: Iterable[Span], new: Iterable[Span], *, blocked: Iterable[Span]
) -> list[Span]:
    """The existing entities, and the new ones where there is room."""
    kept = list(existing)
    taken = {token.i for span in (*kept, *blocked) for token in span}
    kept += [span for span in new if taken.isdisjoint(range(span.start, span.end))]
    return filter_spans(kept)


def gold_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """A gold Doc's mentions, or None if it is not, or only in part, annotated."""
    if spans_key in doc.spans:
        # the same one twice is still one mention
        return list(dict.fromkeys(doc.spans[spans_key]))
    if all(token.ent_iob for token in doc) and len(doc):
        return list(doc.ents)
    return None


def get_score(span: Span) -> float | None:
    """The probability of a span that the component found: `span._.padellm_score`.

    RETURNS (float | None): None if the component did not find it, with this label.
    """
    place = [span.start_char, span.end_char, span.label_]
    for group in span.doc.spans.values():
        # characters stay where tokens are merged or split, the group's spans do not
        places = group.attrs.get("places")
        if places is None or len(places) != len(group):
            continue  # not the component's, or changed since
        first = bisect_left(places, place[:1])
        after = bisect_left(places, [span.start_char + 1])
        if place in places[first:after]:
            number = places.index(place, first, after)
            return float(group.attrs["scores"][number])
    return None


if not Span.has_extension("padellm_score"):
    Span.set_extension("padellm_score", getter=get_score)
