"""Spans of characters, aligned with the tokens of their Doc."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from spacy.tokens import Doc, Span

from spacy_padellm.mention.mention import ScoredSpan

AlignmentMode = Literal["strict", "contract", "expand"]


def align_tokens(
    doc: Doc, spans: Iterable[ScoredSpan], alignment_mode: AlignmentMode
) -> tuple[list[tuple[Span, ScoredSpan]], list[ScoredSpan]]:
    """Align spans of characters with the tokens of their Doc.

    doc (Doc): The Doc.
    spans (Iterable[ScoredSpan]): Spans of its characters.
    alignment_mode (AlignmentMode): How spans that start or end inside a token are
        aligned, as in `Doc.char_span`.
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
