"""Training on token trees compared with the paper's separate examples, one epoch each.

python -m benchmarks.training CORPUS.spacy --texts 600 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from wasabi import msg

from spacy_padellm.benchmark.gold import choose, names_of, read_gold
from spacy_padellm.benchmark.machine import machine_facts
from spacy_padellm.benchmark.subjects.shapes import SHAPES, make_shaped
from spacy_padellm.lm.devices.choose import choose_device, fast_bf16
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.training.loss import batches, tree_loss
from spacy_padellm.training.master_weights import MasterWeights
from spacy_padellm.training.optimizers import make_optimizers
from spacy_padellm.training.separate_examples import separate_examples
from spacy_padellm.training.targets import TrainingTree, make_mention_trees

TEXTS_A_STEP = 32
MAX_BATCH_TOKENS = 2048


def epoch(lm: LanguageModel, steps: list[list[TrainingTree]]) -> float:
    """Train once over the steps; returns the seconds."""
    masters = MasterWeights(lm.model)
    [optimizer] = make_optimizers(lm.model, masters.named())
    start = time.perf_counter()
    for trees in steps:
        total = sum(sum(tree.weights) for tree in trees)
        for batch in batches(trees, MAX_BATCH_TOKENS):
            (tree_loss(lm, batch) / total).backward()
            masters.collect()
        optimizer.step()
        optimizer.zero_grad()
        masters.publish()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7M")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--preset", choices=PRESETS, default="paper-en")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = choose_device("auto")
    corpus = read_gold(args.corpus, lang="en")
    gold = choose(corpus, args.texts)
    texts = [each.text for each in corpus]
    dtype = torch.bfloat16 if fast_bf16(device) else torch.float32
    lm = make_shaped(args.shape, texts, device=device, dtype=dtype, seed=0)
    lm.model.train()
    trees = make_mention_trees(
        lm.tokens_of(PRESETS[args.preset]),
        gold,
        names_of(gold),
        mention_prefix_loss=True,
    )
    random.Random(0).shuffle(trees)
    steps = [trees[i : i + TEXTS_A_STEP] for i in range(0, len(trees), TEXTS_A_STEP)]
    examples = [[e for tree in step for e in separate_examples(tree)] for step in steps]
    epoch(lm, steps[:2])
    results = {}
    for name, run in (("tree", steps), ("separate examples", examples)):
        tokens = sum(tree.size for step in run for tree in step)
        results[name] = {"tokens": tokens, "seconds": epoch(lm, run)}
    tree, separate = results["tree"], results["separate examples"]
    results["tree"]["share_of_tokens"] = tree["tokens"] / separate["tokens"]
    results["tree"]["faster"] = separate["seconds"] / tree["seconds"]
    msg.table(
        [(n, r["tokens"], f"{r['seconds']:.1f}") for n, r in results.items()],
        header=("training on", "tokens an epoch", "seconds an epoch"),
        divider=True,
    )
    share, faster = results["tree"]["share_of_tokens"], results["tree"]["faster"]
    msg.info(f"The tree reads {share:.0%} of the tokens and is {faster:.2f}x as fast")
    if args.json:
        facts = {
            "shape": args.shape,
            "preset": args.preset,
            "texts": len(gold),
            **machine_facts(device),
            "results": results,
        }
        args.json.write_text(json.dumps(facts, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
