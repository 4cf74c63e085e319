"""The effect of unusual whitespace and of layouts on span F1.

    python -m benchmarks.blanks corpus/conll03_dev.spacy

Sentences of more than ten words with several entities get other whitespace between
their words: lines wrapped at 40 columns, also quoted with `> `, double spaces, no-break
spaces. Their entities also come without sentences: as a list, as a form and as a table.
All of it is read with both values of the setting `layout`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.benchmark.subjects.pipelines import read_corpus

WIDTH = 40  # columns of a wrapped line
# kind -> whitespace between words, and between lines
WHITESPACE = {
    "single spaces": (" ", " "),
    "lines of 40 columns": (" ", "\n"),
    "the same with CR LF": (" ", "\r\n"),
    "the same as quoted mail": (" ", "\n> "),
    "double spaces": ("  ", "  "),
    "no-break spaces": ("\u00a0", "\u00a0"),
}
# kind -> how an entity is written, and what is between two
LAYOUTS = {
    "list": ("{name}", "\n"),
    "list with bullets": ("- {name}", "\n"),
    "form": ("Field {number}: {name}", "\n"),
    "table": ("{name}", "\t"),
    "paragraphs": ("{name}", "\n\n"),
}
Offsets = tuple[int, int, str]


def spaced(gold: Doc, between: str, line: str) -> tuple[str, set[Offsets]]:
    """The words with other whitespace, and the entities' character offsets."""
    text, column = line.partition("\n")[2], 0
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


def listed(gold: Doc, form: str, separator: str) -> tuple[str, set[Offsets]]:
    """The entities alone, in a layout.

    form (str): How each of them is written, with {number} and {name}.
    separator (str): What is between them.
    """
    text, offsets = "", set()
    for number, ent in enumerate(gold.ents, start=1):
        text += separator if text else ""
        before, after = form.format(number=number, name="{name}").split("{name}")
        start = len(text) + len(before)
        text += before + ent.text + after
        offsets.add((start, start + len(ent.text), ent.label_))
    return text, offsets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--texts", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    docs = read_corpus(args.corpus, nlp.vocab)
    long = (doc for doc in docs if len(doc) > 10 and len(doc.ents) > 1)
    golds = list(islice(long, args.texts))
    pipe: Any = nlp.get_pipe("padellm_ner")
    kinds = {k: partial(spaced, between=b, line=a) for k, (b, a) in WHITESPACE.items()}
    for kind, (form, separator) in LAYOUTS.items():
        kinds[kind] = partial(listed, form=form, separator=separator)
    for kind, write in kinds.items():
        pairs = [write(gold) for gold in golds]
        scores = {}
        for layout in ("ignore", "split"):
            pipe.cfg["layout"] = layout
            scores[layout] = score(nlp, pairs)
        print(f"{kind}: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))


def score(nlp: Language, pairs: Sequence[tuple[str, set[Offsets]]]) -> float:
    """Span F1 over texts with their entities."""
    right = found = annotated = 0
    docs = nlp.pipe((text for text, _ in pairs), batch_size=256)
    for doc, (_, ents) in zip(docs, pairs, strict=True):
        predicted = {(e.start_char, e.end_char, e.label_) for e in doc.ents}
        right += len(predicted & ents)
        found, annotated = found + len(predicted), annotated + len(ents)
    return 2 * right / max(found + annotated, 1)


if __name__ == "__main__":
    main()
