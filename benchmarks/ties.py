"""How often a text's mentions depend on the other texts of its batch, in bfloat16.

In float32 they do not (see the tests). In bfloat16, matrix products of other sizes are
rounded differently, which can change the order of two tokens that are nearly tied.

    python -m benchmarks.ties CORPUS.spacy --texts 500 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from wasabi import msg

from spacy_padellm.benchmark.gold import choose, read_gold
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.loading import find_model, load
from spacy_padellm.lm.task_config import read_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--model", default="bundled-en-sm", help="bundled name or folder"
    )
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = read_settings(Path(find_model(args.model)))
    assert settings is not None
    texts = [
        gold.text for gold in choose(read_gold(args.corpus, lang="en"), args.texts)
    ]
    results = {}
    for dtype in (torch.float32, torch.bfloat16):
        lm = load(args.model, dtype=dtype)
        prompt = lm.tokens_of(settings.prompt)
        decoder = TreeDecoder()
        together = decode(decoder, lm, prompt, texts, settings.labels)
        flipped = 0
        for text, wanted in zip(texts, together, strict=True):
            (alone,) = decode(decoder, lm, prompt, [text], settings.labels)
            found = [[(m.label, m.index, m.text) for m in ms] for ms in (alone, wanted)]
            flipped += found[0] != found[1]
        name = str(dtype).removeprefix("torch.")
        results[name] = {"texts": len(texts), "flipped": flipped}
        msg.info(f"{name}: {flipped} of {len(texts)} texts differ alone and in a batch")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
