"""Sample corpora with labels of their own in balance, for one training.

    python scripts/sample_corpora.py OUTPUT.spacy FOLDER --most 1500 --times 4

The folder holds corpora that were converted with --own-labels. Of a larger one, as many
texts as `--most` are drawn. A smaller one is repeated, at most `--times` times, while
it stays below that.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin

from spacy_padellm.text.labels import LABELS_KEY
from spacy_padellm.writable import write_whole


def sample(
    texts: Sequence[Doc], *, most: int, times: int, rng: random.Random
) -> list[Doc]:
    """Draw texts of a corpus, or repeat it."""
    if len(texts) > most:
        return rng.sample(texts, most)
    return [*texts] * max(1, min(times, most // max(1, len(texts))))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=1500)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    vocab = spacy.blank("en").vocab
    chosen: list[Doc] = []
    paths = sorted(options.folder.glob("*.spacy"))
    if not paths:
        parser.error(f"{options.folder} has no .spacy files: convert corpora to it")
    for path in paths:
        texts = list(DocBin().from_disk(path).get_docs(vocab))
        if not all(LABELS_KEY in doc.user_data for doc in texts):
            parser.error(f"{path} has no labels of its own: convert with --own-labels")
        drawn = sample(texts, most=options.most, times=options.times, rng=rng)
        print(f"{path.stem}: {len(texts)} -> {len(drawn)}")
        chosen += drawn
    rng.shuffle(chosen)
    corpus = DocBin(["ENT_IOB", "ENT_TYPE"], docs=chosen, store_user_data=True)
    write_whole(options.output, corpus.to_bytes())
    print(f"{len(chosen)} texts: {options.output}")


if __name__ == "__main__":
    main()
