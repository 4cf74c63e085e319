"""What other blanks than single ones cost: span F1 of the same words.

    python -m benchmarks.blanks corpus/conll03_dev.spacy

Takes sentences of more than ten words with several entities, and puts other blanks
between their words: lines wrapped at 40 columns, double blanks, no-break spaces.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import spacy
import torch
from spacy.tokens import Doc, DocBin

WIDTH = 40  # columns of a wrapped line
# kind -> what stands between words, and between lines
BLANKS = {
    "single blanks": (" ", " "),
    "lines of 40 columns": (" ", "\n"),
    "the same with CR LF": (" ", "\r\n"),
    "double blanks": ("  ", "  "),
    "no-break spaces": ("\u00a0", "\u00a0"),
}
Place = tuple[int, int, str]


def spaced(gold: Doc, between: str, line: str) -> tuple[str, set[Place]]:
    """The words with other blanks, and the entities' characters."""
    text, column = "", 0
    places = []
    for token in gold:
        wraps = column + len(token.text) > WIDTH
        if token.i:
            text += line if wraps else between
        column = 0 if wraps else column
        places.append((len(text), len(text) + len(token.text)))
        text += token.text
        column += len(token.text) + 1
    ents = {(places[e.start][0], places[e.end - 1][1], e.label_) for e in gold.ents}
    return text, ents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--texts", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner")
    docs = DocBin().from_disk(args.corpus).get_docs(nlp.vocab)
    long = (doc for doc in docs if len(doc) > 10 and len(doc.ents) > 1)
    golds = list(islice(long, args.texts))
    for kind, blanks in BLANKS.items():
        pairs = [spaced(gold, *blanks) for gold in golds]
        right = found = wanted = 0
        read = nlp.pipe((text for text, _ in pairs), batch_size=256)
        for doc, (_, ents) in zip(read, pairs, strict=True):
            predicted = {(e.start_char, e.end_char, e.label_) for e in doc.ents}
            right += len(predicted & ents)
            found, wanted = found + len(predicted), wanted + len(ents)
        print(f"{kind}: span F1 {2 * right / (found + wanted):.3f}")


if __name__ == "__main__":
    main()
