"""Make the bundled model's training corpus from converted corpora.

Each corpus is taken twice: as it is, and as running text, one to three sentences at a
time with the spacing of ordinary writing. Labels are renamed to PER, LOC, ORG, MISC.

    python scripts/mixed_corpus.py OUTPUT.spacy INPUT.spacy [INPUT.spacy ...]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence

import spacy
from spacy.tokens import Doc, DocBin, Span

SPANS_KEY = "padellm"
NAMES = {
    "person": "PER",
    "location": "LOC",
    "group": "ORG",
    "corporation": "ORG",
    "product": "MISC",
    "creative-work": "MISC",
}
NO_BLANK_BEFORE = {*".,;:!?)]}%", "'s", "'S", "n't", "'re", "'ve", "'ll", "'m", "'d"}
NO_BLANK_AFTER = {*"([{$#@"}


def rename(label: str) -> str:
    return NAMES.get(label, label)


def spaces(words: Sequence[str]) -> list[bool]:
    """Whether ordinary writing has a blank after each word."""
    after = [True] * len(words)
    quotes = 0
    for i, word in enumerate(words):
        if i and word in NO_BLANK_BEFORE:
            after[i - 1] = False
        if word in NO_BLANK_AFTER:
            after[i] = False
        if word == '"':
            quotes += 1
            if quotes % 2:
                after[i] = False
            elif i:
                after[i - 1] = False
    if words:
        after[-1] = False
    return after


def join(vocab: spacy.Vocab, docs: Sequence[Doc], *, running: bool) -> Doc:
    """One Doc of several, with renamed labels."""
    words: list[str] = []
    blanks: list[bool] = []
    spans = []
    for doc in docs:
        start = len(words)
        if blanks:
            blanks[-1] = True
        words += [token.text for token in doc]
        given = [bool(token.whitespace_) for token in doc]
        plain = running and all(given[:-1])
        blanks += spaces([token.text for token in doc]) if plain else given
        gold = doc.spans.get(SPANS_KEY, doc.ents)
        spans += [(start + s.start, start + s.end, rename(s.label_)) for s in gold]
    joined = Doc(vocab, words=words, spaces=blanks)
    joined.set_ents([Span(joined, *span) for span in spans])
    return joined


def running_texts(docs: Sequence[Doc], rng: random.Random) -> Iterator[list[Doc]]:
    """Consecutive sentences, one to three at a time."""
    place = 0
    while place < len(docs):
        count = rng.choice((1, 1, 2, 3))
        yield list(docs[place : place + count])
        place += count


def main(output: str, *inputs: str) -> None:
    rng = random.Random(0)
    vocab = spacy.blank("en").vocab
    mixed = []
    for path in inputs:
        docs = [doc for doc in DocBin().from_disk(path).get_docs(vocab) if len(doc)]
        mixed += [join(vocab, [doc], running=False) for doc in docs]
        mixed += [join(vocab, d, running=True) for d in running_texts(docs, rng)]
    rng.shuffle(mixed)
    DocBin(docs=mixed, store_user_data=False).to_disk(output)
    print(f"{len(mixed)} texts, {sum(len(doc.ents) for doc in mixed)} mentions")


if __name__ == "__main__":
    main(*sys.argv[1:])
