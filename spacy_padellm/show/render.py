"""Docs for displaCy: scores as shades, unsure mentions dashed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from spacy import displacy
from spacy.tokens import Doc, Span

from spacy_padellm.analysis.analyze.highlight import label_colors
from spacy_padellm.text.spans import promised_key

_TEMPLATE = (
    '<mark class="entity" title="{label} {score}" style="{style}; color: #111; '
    "padding: 0.15em 0.3em; margin: 0 0.1em; border-radius: 0.35em; "
    '-webkit-box-decoration-break: clone; box-decoration-break: clone">{text}'
    '<span style="font-size: 0.75em; font-weight: bold; margin-left: 0.4em; opacity: '
    '0.8">{label}</span></mark>'
)
_FAINTEST = 0.2  # share of the colour in the shade of a mention with the score 0


def displacy_options() -> dict[str, Any]:
    """The options for `displacy.render` with the result of `displacy_data`.

    >>> displacy.render(displacy_data(doc), style="ent", manual=True,
    ...                 options=displacy_options())
    """
    return {"template": _TEMPLATE}


def render_html(data: dict[str, Any] | list[dict[str, Any]], *, page: bool) -> str:
    """Draw annotated texts as HTML.

    data (dict | list[dict]): The result of `displacy_data`, or a list of them.
    page (bool): Whether to return a whole page, else a part of one.
    """
    markup: str = displacy.render(
        data,
        style="ent",
        page=page,
        manual=True,
        jupyter=False,
        options=displacy_options(),
    )
    return markup


def displacy_data(
    doc: Doc, *, labels: Sequence[str] = (), spans_key: str = "padellm"
) -> dict[str, Any]:
    """A Doc in the form that displaCy takes with `manual=True`.

    The background of an entity is the fainter, the less probable it is. Mentions of
    `doc.spans[f"{spans_key}_promised"]` that are no entities have a dashed line; those
    that overlap others are left out.

    doc (Doc): A Doc that a `padellm_ner` annotated.
    labels (Sequence[str]): The labels that share the colours; those that the model
        knows and those of the Doc always do. A label has the same colour in all Docs of
        a model.
    spans_key (str): The component's key.
    RETURNS (dict[str, Any]): Its text and mentions.
    """
    unsure = _unsure(doc, promised_key(spans_key))
    found = (span.label_ for span in (*doc.ents, *unsure))
    colors = label_colors([*labels, *(doc._.padellm_expected or ()), *found])
    shown = [(ent, True) for ent in doc.ents] + [(span, False) for span in unsure]
    shown.sort(key=lambda pair: pair[0].start)
    ents = [_entity(span, colors[escape(span.label_)], sure) for span, sure in shown]
    return {"text": doc.text, "ents": ents, "title": None}


def _unsure(doc: Doc, key: str) -> list[Span]:
    """The spans of a group that overlap neither entities nor more probable spans."""
    taken = {token.i for ent in doc.ents for token in ent}
    found = []
    spans = list(doc.spans[key]) if key in doc.spans else []
    for span in sorted(spans, key=lambda span: -(span._.padellm_score or 0.0)):
        tokens = range(span.start, span.end)
        if taken.isdisjoint(tokens):
            found.append(span)
            taken.update(tokens)
    return found


def _entity(span: Span, color: str, sure: bool) -> dict[str, Any]:
    score = span._.padellm_score
    share = _FAINTEST + (1 - _FAINTEST) * (1.0 if score is None else score)
    style = f"background: {_shade(color, share)}"
    if not sure:
        style = f"background: #fff; border: 2px dashed {color}"
    return {
        "start": span.start_char,
        "end": span.end_char,
        "label": escape(span.label_),  # displaCy does not
        "params": {"style": style, "score": "" if score is None else f"{score:.2f}"},
    }


def _shade(color: str, share: float) -> str:
    """Mix a colour with white, so that dark text is readable on any page."""
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - c)):02x}" for c in channels)
