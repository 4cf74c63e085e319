"""The time and the memory of one text, by its length, in a new process for each.

    python -m benchmarks.long_text corpus/conll03_dev.spacy --model bundled-en-sm \
        --words 200 --words 2000 --words 20000

The words are those of the corpus, joined by blanks. The pipeline first reads the last
200 of them. One thread. Memory is the highest of the process, in MiB; time is that of
the processor, in seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import resource
import time
from pathlib import Path

import torch

WARMUP = 200  # words


def measure(corpus: Path, model: str, words: int) -> tuple[float, float]:
    """The seconds and the MiB of a text of some words."""
    from spacy_padellm.benchmark.subjects.pipelines import read_corpus
    from spacy_padellm.pipeline.bundled import load_pipeline

    torch.set_num_threads(1)
    nlp = load_pipeline(model)
    found = [token.text for doc in read_corpus(corpus, nlp.vocab) for token in doc]
    nlp(" ".join(found[-WARMUP:]))
    start = time.process_time()
    nlp(" ".join(found[:words]))
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="bundled-en-sm")
    parser.add_argument("--words", type=int, action="append", required=True)
    options = parser.parse_args()
    for words in options.words:
        with mp.get_context("spawn").Pool(1) as pool:
            arguments = options.corpus, options.model, words
            seconds, size = pool.apply(measure, arguments)
        print(f"{words} words: {seconds:.2f} s, {size:.0f} MiB")


if __name__ == "__main__":
    main()
