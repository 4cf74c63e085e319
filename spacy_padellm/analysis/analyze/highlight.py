"""Gold and generated mentions of a window, rendered by displaCy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

from markupsafe import Markup
from spacy import displacy

from spacy_padellm.analysis.kinds import (
    GoldMention,
    Judgement,
    TokenOffsets,
    WindowCase,
)

PALETTE = (
    "#ffd8a8",
    "#b2f2bb",
    "#a5d8ff",
    "#eebefa",
    "#ffec99",
    "#99e9f2",
    "#ffc9c9",
    "#d8f5a2",
    "#d0bfff",
    "#ffdeeb",
)


def label_colors(labels: Iterable[str]) -> dict[str, str]:
    """Assign a colour to each label, in the form that displaCy takes.

    The same labels get the same colours in any order.

    labels (Iterable[str]): The labels.
    RETURNS (dict[str, str]): Label -> CSS colour.
    """
    # displaCy does not escape labels
    return {
        escape(label): PALETTE[index % len(PALETTE)]
        for index, label in enumerate(sorted(set(labels)))
    }


def gold_markup(case: WindowCase, colors: Mapping[str, str]) -> Markup:
    """Render a window with its gold mentions.

    case (WindowCase): The window.
    colors (Mapping[str, str]): The result of `label_colors`.
    RETURNS (Markup): HTML.
    """
    return _markup(case, set(case.golds), colors)


def predicted_markup(
    case: WindowCase, judgement: Judgement, colors: Mapping[str, str]
) -> Markup:
    """Render a window with the generated mentions that are in its text.

    case (WindowCase): The window.
    judgement (Judgement): The kinds of its mentions.
    colors (Mapping[str, str]): The result of `label_colors`.
    RETURNS (Markup): HTML.
    """
    placed = {
        GoldMention(found.start, found.end, found.mention.label)
        for found in (judged.aligned for judged in judgement.mentions)
        if found.start is not None and found.end is not None
    }
    return _markup(case, placed, colors)


def _markup(
    case: WindowCase, mentions: set[GoldMention], colors: Mapping[str, str]
) -> Markup:
    ordered = sorted(mentions)
    nested = any(span.end > following.start for span, following in pairwise(ordered))
    doc: dict[str, object]
    if nested:
        doc = {
            "tokens": [case.text[start:end] for start, end in case.tokens],
            "spans": [_token_span(mention, case.tokens) for mention in ordered],
        }
    else:
        doc = {
            "text": case.text,
            "ents": [
                {"start": m.start, "end": m.end, "label": escape(m.label)}
                for m in ordered
            ],
        }
    html = displacy.render(
        doc,
        style="span" if nested else "ent",
        manual=True,
        jupyter=False,
        options={"colors": dict(colors)},
    )
    return Markup(html)


def _token_span(
    mention: GoldMention, tokens: Sequence[TokenOffsets]
) -> dict[str, object]:
    """Convert a mention to token indices; partly covered tokens are included."""
    inside = [
        i
        for i, (start, end) in enumerate(tokens)
        if start < mention.end and mention.start < end
    ]
    return {
        "start_token": inside[0],
        "end_token": inside[-1] + 1,
        "label": escape(mention.label),
    }
