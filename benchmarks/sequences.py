"""How often the token tree and separate sequences differ in low precision, and why.

Both decode the same prompts with the same weights. In float32 the mentions are equal,
as tests hold. In bfloat16, products of other sizes round differently, which decides
where two next tokens are nearly tied. For each text whose mentions differ, this finds
the smallest lead of a most likely token over the second one, in logits.

    python -m benchmarks.sequences CORPUS.spacy --texts 1000 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spacy
import torch
from wasabi import msg

from spacy_padellm.benchmark.subjects.pipelines import read_corpus
from spacy_padellm.benchmark.subjects.subjects import trained_subject
from spacy_padellm.decoding.base import DecodeJob, Decoder, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.language_model import LanguageModel

ONE_STEP = TreeDecoder(draft_tokens=0)  # each output decides a token
BATCH_TOKENS = 1024  # of separate sequences
OTHERS = 50  # texts that do not differ, to compare with


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="bundled-en", help="bundled name or folder")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    subject = trained_subject(
        args.model,
        decoders=["tree"],
        device=None,
        dtype=args.dtype,
        lang="en",
        prefix="",
    )
    golds = read_corpus(args.corpus, spacy.blank("en").vocab)
    random.Random(0).shuffle(golds)
    texts = [doc.text for doc in golds[: args.texts]]
    job = DecodeJob(subject.prompt, subject.labels, subject.lm)
    tree = mentions(TreeDecoder(), job, texts)
    separate = mentions(BatchDecoder(max_batch_tokens=BATCH_TOKENS), job, texts)
    pairs = zip(texts, tree, separate, strict=True)
    differ = [text for text, one, other in pairs if one != other]
    others = [text for text in texts if text not in set(differ)][:OTHERS]
    figures = {
        "model": args.model,
        "dtype": args.dtype,
        "texts": len(texts),
        "differ": len(differ),
        "smallest leads of those that differ": leads(job, differ),
        "smallest leads of others": leads(job, others),
    }
    msg.info(str(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", "utf8")


def mentions(
    decoder: Decoder, job: DecodeJob, texts: Sequence[str]
) -> list[list[tuple[str, int, str]]]:
    """Label, index and string of the mentions of each text."""
    decoded = decode(decoder, job.model, job.prompt, texts, job.labels)
    return [[(m.label, m.index, m.text) for m in found] for found in decoded]


def leads(job: DecodeJob, texts: Sequence[str]) -> list[float]:
    """The smallest lead of each text, decoded alone, in ascending order."""
    smallest = []
    for text in texts:
        with watched() as seen:
            decode(ONE_STEP, job.model, job.prompt, [text], job.labels)
        smallest.append(round(min(seen), 4))
    return sorted(smallest)


@contextmanager
def watched() -> Iterator[list[float]]:
    """Note the smallest lead of each pass, in logits."""
    run, seen = LanguageModel.packed_logits, []

    def watch(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits, tags = run(*args, **kwargs)
        if len(logits):
            first, second = logits.float().topk(2, dim=-1).values.T
            seen.append(float((first - second).min()))
        return logits, tags

    LanguageModel.packed_logits = watch  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        LanguageModel.packed_logits = run  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
