"""The mentions of a Doc, from those of its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc

from spacy_padellm.mention.dedup import Dedup, deduplicate
from spacy_padellm.mention.mention import Mention, ScoredSpan, TextMentions
from spacy_padellm.text.align import AlignedMention, align
from spacy_padellm.text.expected import WindowCounts
from spacy_padellm.text.windows import Window


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
    RETURNS (list[DocMentions]): One for each Doc, its spans window by window.
    """
    results = [DocMentions() for _ in docs]
    # end_before is where the windows before end; recent are the mentions of the one
    # that ends there, and of those after it that are shorter, as a long token cuts them
    doc, end_before = -1, 0
    recent: list[ScoredSpan] = []
    for window, decoded in zip(windows, mentions, strict=True):
        result = results[window.doc]
        if window.doc != doc:
            doc, end_before, recent = window.doc, window.start, []
        if isinstance(decoded, TextMentions):
            reach = window.start, window.start + len(window.text)
            result.counts.append(WindowCounts(*reach, decoded.at_least))
        first, end = window.start_range
        kept = deduplicate(decoded, dedup, counts=passes_threshold)
        own: list[ScoredSpan] = []
        earlier = len(result.spans) - len(recent)
        for aligned in _align(kept, window):
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
                own.append(scored)
                continue
            is_cut = scored.start < first and end_before < scored.end
            if is_cut and passes_threshold(aligned.mention):
                # the windows before have its beginning at most
                parts = [part for part in recent if _extends(scored, part, end_before)]
                if parts or not any(_bars(s, scored, end_before) for s in recent):
                    recent = [span for span in recent if span not in parts]
                    own.append(scored)
        result.spans[earlier:] = [*recent, *own]
        reached = window.start + len(window.text.rstrip())
        recent = own if reached > end_before else [*recent, *own]
        end_before = max(end_before, reached)
    return results


def _align(mentions: Sequence[Mention], window: Window) -> list[AlignedMention]:
    """Align the mentions of a window to its text."""
    if not mentions:
        return []
    span: Any = window.span  # spaCy's stubs lack to_array
    offsets, lengths = span.to_array([IDX, LENGTH]).astype(int).T
    starts = set((offsets - window.start).tolist())
    ends = set((offsets + lengths - window.start).tolist())
    return align(mentions, window.text, starts=starts, ends=ends)


def _bars(span: ScoredSpan, longer: ScoredSpan, end: int) -> bool:
    """Whether a mention of a window contradicts one that goes on after its end.

    One of another label that lies inside does not.
    """
    overlaps = span.start < longer.end and longer.start < span.end
    inside = longer.start <= span.start and span.end < end
    return overlaps and not (inside and span.label != longer.label)


def _extends(longer: ScoredSpan, part: ScoredSpan, end: int) -> bool:
    """Whether a mention covers one of the same label that reaches the end of a window,
    and goes on."""
    same = longer.label == part.label
    return same and longer.start <= part.start and end <= part.end < longer.end
