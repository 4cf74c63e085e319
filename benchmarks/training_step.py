"""Where the time of a training step goes: products, elementwise work, optimizer.

python -m benchmarks.training_step CORPUS.spacy MODEL --steps 20 --json OUT.json

The tree is that of `configs/finetune.cfg`: the paper's prompt, both directions, tags.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.training import Example
from torch.profiler import ProfilerActivity, profile
from wasabi import msg

from spacy_padellm.benchmark.machine import machine_facts
from spacy_padellm.benchmark.subjects.pipelines import read_corpus

TEXTS_A_STEP = 32
CONFIG = Path(__file__).parent.parent / "configs" / "finetune.cfg"
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def make_pipe(name: str) -> Any:
    """A pipeline of `configs/finetune.cfg` with another model, ready to train."""
    config = spacy.util.load_config(
        CONFIG, overrides={"components.padellm_ner.model.name": name}
    )
    return spacy.util.load_model_from_config(config, auto_fill=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    nlp = make_pipe(args.model)
    docs = read_corpus(args.corpus, nlp.vocab)
    random.Random(0).shuffle(docs)
    docs = docs[: TEXTS_A_STEP * args.steps]
    steps = [
        [Example(nlp.make_doc(doc.text), doc) for doc in docs[i : i + TEXTS_A_STEP]]
        for i in range(0, len(docs), TEXTS_A_STEP)
    ]
    sgd = nlp.initialize(lambda: steps[0])
    pipe = nlp.get_pipe("padellm_ner")
    seconds, products, memory = [], [], []
    for number, examples in enumerate(steps):
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as recorded:
            start = time.perf_counter()
            pipe.update(examples, sgd=sgd)
            seconds.append(time.perf_counter() - start)
        products.append(
            sum(
                event.self_cpu_time_total / 1e6
                for event in recorded.key_averages()
                if event.key in PRODUCTS
            )
        )
        memory.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        ratio = seconds[-1] / products[-1]
        msg.text(
            f"step {number}: {seconds[-1]:.2f} s, products {products[-1]:.2f} s, "
            f"{ratio:.2f} times, peak {memory[-1] / 2**30:.2f} GiB"
        )
    ratios = [a / b for a, b in zip(seconds[1:], products[1:], strict=True)]
    facts = {
        "model": args.model,
        "steps": len(steps),
        **machine_facts(torch.device("cpu")),
        "seconds": statistics.median(seconds[1:]),
        "times_the_products": statistics.median(ratios),
        "peak_bytes": {"half": memory[len(memory) // 2], "end": memory[-1]},
    }
    msg.info(json.dumps(facts))
    if args.json:
        args.json.write_text(json.dumps(facts, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
