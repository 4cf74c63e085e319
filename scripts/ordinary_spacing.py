"""Write a corpus with the spacing of ordinary writing, to score a model on it.

    python scripts/ordinary_spacing.py corpus/conll03_dev.spacy \
        corpus/conll03_written.spacy

Most corpora have a space between all words: `( Berlin )`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spacy
from gold_corpus import respace
from mixed_corpus import SPANS_KEY, Text
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.writable import write_whole


def write_ordinarily(doc: Doc) -> Doc:
    """A copy with ordinary spacing, brackets and quotes, and the gold mentions."""
    spaces = [bool(token.whitespace_) for token in doc]
    text = respace(Text([token.text for token in doc], spaces, []), "")
    copy = Doc(doc.vocab, words=text.words, spaces=text.spaces)
    copy.user_data.update(
        {key: value for key, value in doc.user_data.items() if isinstance(key, str)}
    )
    if SPANS_KEY in doc.spans:
        spans = doc.spans[SPANS_KEY]
        copy.spans[SPANS_KEY] = [Span(copy, s.start, s.end, s.label_) for s in spans]
    copy.set_ents([Span(copy, s.start, s.end, s.label_) for s in doc.ents])
    return copy


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    vocab = spacy.blank("en").vocab
    docs = DocBin().from_disk(options.corpus).get_docs(vocab)
    output = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for doc in docs:
        output.add(write_ordinarily(doc) if len(doc) else doc)
    write_whole(options.output, output.to_bytes())
    print(f"{len(output)} texts: {options.output}")


if __name__ == "__main__":
    main()
