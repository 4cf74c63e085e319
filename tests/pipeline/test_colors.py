"""The colours of labels in displaCy."""

from __future__ import annotations

import spacy
from spacy import displacy


def test_colors_of_the_bundled_labels_are_all_different() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    labels = nlp.get_pipe("padellm_ner").labels
    ents = [
        {"start": i, "end": i + 1, "label": label} for i, label in enumerate(labels)
    ]
    html = displacy.render(
        {"text": "abcd", "ents": ents, "title": None},
        style="ent",
        manual=True,
        jupyter=False,
    )
    colors = [part.partition(";")[0] for part in html.split("background: ")[1:]]
    assert len({*colors, "#ddd"}) == len(labels) + 1  # #ddd is displaCy's default
