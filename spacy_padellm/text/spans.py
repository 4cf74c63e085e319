"""Spans of a Doc: the gold ones, and the scores of predicted ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from spacy.tokens import Doc, Span

from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.mention.dedup import choose_flat
from spacy_padellm.mention.mention import ScoredSpan

KEPT = "kept"
"""Key of a span group's `attrs`: entities of others were kept beside its spans."""

_warned: set[str] = set()  # keys


def promised_key(spans_key: str) -> str:
    """The key of the span group with the mentions of a promise.

    spans_key (str): The component's key.
    """
    return f"{spans_key}_promised"


def gold_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """A gold Doc's mentions.

    doc (Doc): The Doc.
    spans_key (str): Key of the span group in `doc.spans` with nested mentions.
    RETURNS (list[Span] | None): The span group without repeats, or else `doc.ents`;
        None if the Doc is not annotated, or only partly. Warns once if the component
        wrote the group, and `doc.ents` is not what it chose of it.
    """
    if spans_key in doc.spans:
        if spans_key not in _warned and _changed_ents(doc, spans_key):
            _warned.add(spans_key)
            logger.warning(Warnings.W977.format(key=spans_key))
        return without_repeats(doc.spans[spans_key])
    if all(token.ent_iob for token in doc) and len(doc):
        return list(doc.ents)
    return None


def _changed_ents(doc: Doc, spans_key: str) -> bool:
    """Whether `doc.ents` is not what a component chose of its span group.

    False where that is not known: the component kept entities of others, or the group
    was changed too, or another component wrote to the Doc.
    """
    group = doc.spans[spans_key]
    places = group.attrs.get("places")
    if places is None or KEPT in group.attrs or places != _places(group):
        return False
    own = spans_key, promised_key(spans_key)
    if any("places" in doc.spans[key].attrs for key in doc.spans if key not in own):
        return False
    spans = [
        ScoredSpan(span.start, span.end, span.label_, score, "exact")
        for span, score in zip(group, group.attrs["scores"], strict=True)
    ]
    chosen = {(s.start, s.end, s.label) for s in choose_flat(spans)}
    return chosen != {(ent.start, ent.end, ent.label_) for ent in doc.ents}


def _places(spans: Iterable[Span]) -> list[list[Any]]:
    return [[span.start_char, span.end_char, span.label_] for span in spans]


def other_keys_remedy(keys: Iterable[str]) -> str:
    """What to do about Docs that are annotated under other keys of `doc.spans`.

    keys (Iterable[str]): The keys of these Docs.
    RETURNS (str): For the end of a message; empty without keys.
    """
    found = ", ".join(f"doc.spans['{key}']" for key in sorted(set(keys)))
    return Errors.P831.format(keys=found) if found else ""


def without_repeats(spans: Iterable[Span]) -> list[Span]:
    """Each span once: those with the same tokens and label are one mention.

    spans (Iterable[Span]): Spans of one Doc. Their IDs may differ.
    """
    places: dict[tuple[int, int, int], Span] = {}
    for span in spans:
        places.setdefault((span.start, span.end, span.label), span)
    return list(places.values())


def nested_spans(doc: Doc) -> list[Span]:
    """The mentions of the model that are not in `doc.ents`.

    doc (Doc): A Doc that a `padellm_ner` annotated.
    RETURNS (list[Span]): Those of its span groups, without mentions of a promise.
    """
    # a promise's group has no expected mentions
    groups = (group for group in doc.spans.values() if "expected" in group.attrs)
    spans = without_repeats([*doc.ents, *(span for group in groups for span in group)])
    return spans[len(doc.ents) :]


def get_score(span: Span) -> float | None:
    """The probability of a predicted span: `span._.padellm_score`.

    span (Span): The span.
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
