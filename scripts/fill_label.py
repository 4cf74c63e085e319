"""Add the mentions of a label that a corpus does not annotate, with a trained pipeline.

    python scripts/fill_label.py PIPELINE INPUT.spacy OUTPUT.spacy LABEL

Mentions that overlap those of the corpus are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import spacy
from spacy.tokens import DocBin, Span

from spacy_padellm.writable import write_whole


def main(pipeline: str, source: str, target: str, label: str) -> None:
    nlp = spacy.load(pipeline)
    filled = DocBin(store_user_data=False)
    for gold in DocBin().from_disk(source).get_docs(nlp.vocab):
        taken = {token.i for span in gold.ents for token in span}
        doc = gold.copy()
        doc.ents = ()
        for _, pipe in nlp.pipeline:
            doc = pipe(doc)
        new = [
            Span(gold, span.start, span.end, label)
            for span in doc.ents
            if span.label_ == label and taken.isdisjoint(range(span.start, span.end))
        ]
        gold.set_ents([*gold.ents, *new])
        gold.spans.clear()
        filled.add(gold)
    write_whole(Path(target), filled.to_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
