"""Write a corpus of sentences as texts of several sentences, to score a model on them.

    python scripts/paragraphs.py corpus/ewt_dev.spacy corpus/ewt_paragraphs.spacy

A sentence without punctuation at its end, such as a heading, ends a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from spacy_padellm.writable import write_whole

ENDS = tuple(".?!\"')")


def join(docs: Sequence[Doc], vocab: Vocab) -> Doc:
    """Join Docs to one, with their entities."""
    words: list[str] = []
    spaces: list[bool] = []
    entities: list[tuple[int, int, str]] = []
    for doc in docs:
        if words:
            ends = words[-1].endswith(ENDS)
            spaces[-1] = ends
            words += [] if ends else ["\n"]
            spaces += [] if ends else [False]
        first = len(words)
        entities += [(first + e.start, first + e.end, e.label_) for e in doc.ents]
        words += [token.text for token in doc]
        spaces += [bool(token.whitespace_) for token in doc]
    joined = Doc(vocab, words=words, spaces=spaces)
    joined.set_ents([Span(joined, *entity) for entity in entities])
    return joined


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=6, help="sentences of a text")
    options = parser.parse_args()
    vocab = spacy.blank("en").vocab
    docs = [doc for doc in DocBin().from_disk(options.corpus).get_docs(vocab) if doc]
    output = DocBin(attrs=["ENT_IOB", "ENT_TYPE"])
    for first in range(0, len(docs), options.size):
        output.add(join(docs[first : first + options.size], vocab))
    write_whole(options.output, output.to_bytes())
    print(f"{len(output)} texts: {options.output}")


if __name__ == "__main__":
    main()
