"""How often a text's entities depend on the other texts of its batch.

Matrix products of other sizes are rounded differently. In bfloat16 this can change the
order of two tokens that are nearly tied, or move a score over its threshold.

    python -m benchmarks.ties CORPUS.spacy --texts 400 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.benchmark.subjects.pipelines import read_corpus

BATCH = 512  # texts
DTYPES = {
    "bfloat16": torch.bfloat16,
    "bfloat16, vocabulary in float32": torch.bfloat16,
    "float32": torch.float32,
}


def use_float32(head: Any) -> None:
    """Let a vocabulary head compute in float32."""
    weight = head.weight.detach().float()
    head.forward = lambda x: torch.nn.functional.linear(x.float(), weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--model", default="bundled-en-sm", help="bundled name or folder"
    )
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    vocab = spacy.blank("en").vocab
    golds = read_corpus(args.corpus, vocab)
    random.Random(0).shuffle(golds)
    texts = [doc.text for doc in golds[: args.texts]]
    results = {}
    for name in DTYPES:
        results[name] = compare(args.model, name, texts)
        msg.info(f"{name}: {results[name]}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf8")


def compare(model: str, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Annotate texts alone and in batches.

    model (str): A bundled model's name, or a folder.
    name (str): One of `DTYPES`.
    texts (Sequence[str]): The texts.
    RETURNS (dict[str, Any]): The number of texts whose entities differ, the largest
        difference of the scores of the same mentions, and processor seconds.
    """
    nlp = spacy.blank("en")
    dtype = str(DTYPES[name]).removeprefix("torch.")
    source = {"@architectures": "spacy-padellm.CausalLM.v1", "name": model}
    config = {"model": {**source, "dtype": dtype}}
    pipe: Any = nlp.add_pipe("padellm_ner", config=config)
    lm = pipe.handle.lm()
    if "float32" in name.removeprefix(dtype):
        use_float32(lm.model.get_output_embeddings())
    list(nlp.pipe(texts[:32], batch_size=32))  # warm up
    together, together_s = timed(lambda: list(nlp.pipe(texts, batch_size=BATCH)))
    alone, alone_s = timed(lambda: [nlp(text) for text in texts])
    pairs = list(zip(alone, together, strict=True))
    scores = [
        abs(first - second)
        for pair in pairs
        if places(pair[0]) == places(pair[1])
        for first, second in zip(*map(get_scores, pair), strict=True)
    ]
    return {
        "texts": len(texts),
        "differ": sum(entities(first) != entities(second) for first, second in pairs),
        "largest_score_difference": round(max(scores, default=0.0), 6),
        "batch_seconds": together_s,
        "alone_seconds": alone_s,
    }


def timed(work: Callable[[], list[Doc]]) -> tuple[list[Doc], float]:
    start = time.process_time()
    docs = work()
    return docs, round(time.process_time() - start, 2)


def entities(doc: Doc) -> list[tuple[int, int, str]]:
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def places(doc: Doc) -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.label_) for span in doc.spans["padellm"]]


def get_scores(doc: Doc) -> list[float]:
    return list(doc.spans["padellm"].attrs["scores"])


if __name__ == "__main__":
    main()
