"""The effect of unusual whitespace on span F1.

    python -m benchmarks.blanks corpus/conll03_dev.spacy

Sentences of more than ten words with several entities get other whitespace between
their words: lines wrapped at 40 columns, double spaces, no-break spaces.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import spacy
import torch
from spacy.tokens import Doc, DocBin

WIDTH = 40  # columns of a wrapped line
# kind -> whitespace between words, and between lines
WHITESPACE = {
    "single spaces": (" ", " "),
    "lines of 40 columns": (" ", "\n"),
    "the same with CR LF": (" ", "\r\n"),
    "double spaces": ("  ", "  "),
    "no-break spaces": ("\u00a0", "\u00a0"),
}
Offsets = tuple[int, int, str]


def spaced(gold: Doc, between: str, line: str) -> tuple[str, set[Offsets]]:
    """The words with other whitespace, and the entities' character offsets."""
    text, column = "", 0
    offsets = []
    for token in gold:
        wraps = column + len(token.text) > WIDTH
        if token.i:
            text += line if wraps else between
        column = 0 if wraps else column
        offsets.append((len(text), len(text) + len(token.text)))
        text += token.text
        column += len(token.text) + 1
    ents = {(offsets[e.start][0], offsets[e.end - 1][1], e.label_) for e in gold.ents}
    return text, ents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--texts", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    docs = DocBin().from_disk(args.corpus).get_docs(nlp.vocab)
    long = (doc for doc in docs if len(doc) > 10 and len(doc.ents) > 1)
    golds = list(islice(long, args.texts))
    for kind, whitespace in WHITESPACE.items():
        pairs = [spaced(gold, *whitespace) for gold in golds]
        right = found = wanted = 0
        docs_found = nlp.pipe((text for text, _ in pairs), batch_size=256)
        for doc, (_, ents) in zip(docs_found, pairs, strict=True):
            predicted = {(e.start_char, e.end_char, e.label_) for e in doc.ents}
            right += len(predicted & ents)
            found, wanted = found + len(predicted), wanted + len(ents)
        print(f"{kind}: span F1 {2 * right / (found + wanted):.3f}")


if __name__ == "__main__":
    main()
