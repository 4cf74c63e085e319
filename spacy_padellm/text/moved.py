"""Spans of the component after tokens were merged or split."""

from __future__ import annotations

from spacy.tokens import Doc, SpanGroup

# attrs that hold one value for each span
_OF_EACH_SPAN = {"scores", "statuses", "places", "alternatives"}


def move_spans(doc: Doc) -> Doc:
    """Move the component's spans to the tokens as they are now.

    spaCy leaves span groups as they are when tokens are merged, as `merge_entities`
    does. They then hold other words, or cannot be read (E035).

    doc (Doc): The Doc. Its groups that the component wrote are replaced. A span that
        begins or ends inside a token goes to the group's `dropped`.
    RETURNS (Doc): The same Doc.
    """
    text = doc.text  # joined from the tokens each time
    for key, group in list(doc.spans.items()):
        attrs = dict(group.attrs)
        places = attrs.get("places")
        if places is None or len(places) != len(group):
            continue  # not written by the component, or changed since
        kept, spans, dropped = [], [], list(attrs.get("dropped", ()))
        for number, (start, end, label) in enumerate(places):
            span = doc.char_span(start, end, label=label)
            if span is not None:
                kept.append(number)
                spans.append(span)
            else:
                score = attrs["scores"][number]
                shown = {"label": label, "text": text[start:end], "score": score}
                dropped.append(shown)
        for name in attrs.keys() & _OF_EACH_SPAN:
            attrs[name] = [attrs[name][number] for number in kept]
        attrs["dropped"] = dropped
        doc.spans[key] = SpanGroup(doc, name=group.name, attrs=attrs, spans=spans)
    return doc
