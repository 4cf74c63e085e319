"""Make silver training data: sentences annotated by a trained pipeline.

    python scripts/silver.py PIPELINE OUTPUT.spacy FOLDER [...] --sentences 50000

The .txt files of the folders are read in random order. Their hard-wrapped lines are
joined and split into sentences.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import spacy
from spacy.tokens import DocBin

from spacy_padellm.writable import write_whole

SHORTEST, LONGEST = 5, 60  # tokens of a sentence
FILE_SHARE = 400  # most sentences of one file
# after sentence-final punctuation and before a capital; not after initials or titles
SENTENCE_END = re.compile(
    r"(?<![A-Z])(?<!Mr|Dr|St)(?<!Mrs)([.!?]['\"”’]?)\s+(?=[A-Z\"“])"
)


def paragraphs(text: str) -> Iterator[str]:
    """Split a text into paragraphs, and join their hard-wrapped lines."""
    for piece in re.split(r"\n\s*\n|\n(?=\s+[A-Z])", text):
        yield " ".join(piece.split())


def sentences(path: Path, rng: random.Random) -> list[str]:
    """Choose sentences of a file at random."""
    text = path.read_text("utf8", errors="replace").replace("\ufeff", "")
    found = []
    for paragraph in paragraphs(text):
        marked = SENTENCE_END.sub(lambda match: match[1] + "\n", paragraph)
        for sentence in marked.split("\n"):
            if SHORTEST <= len(sentence.split()) <= LONGEST:
                found.append(sentence)
    return rng.sample(found, min(len(found), FILE_SHARE))


def collect(folders: Sequence[Path], rng: random.Random) -> Iterator[str]:
    files = sorted(path for folder in folders for path in folder.rglob("*.txt"))
    rng.shuffle(files)
    for path in files:
        yield from sentences(path, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sentences", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    nlp = spacy.load(args.pipeline)
    texts = islice(collect(args.folders, random.Random(args.seed)), args.sentences)
    corpus = DocBin(store_user_data=False)
    for doc in nlp.pipe(texts, batch_size=512):
        doc.spans.clear()  # they may be nested; doc.ents is flat
        corpus.add(doc)
    write_whole(args.output, corpus.to_bytes())
    print(f"{len(corpus)} sentences")


if __name__ == "__main__":
    main()
