"""The mentions of a Doc, from those of its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc

from spacy_padellm.mention.dedup import Dedup, deduplicate
from spacy_padellm.mention.mention import Mention, ScoredSpan, TextMentions
from spacy_padellm.text.align import align
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
