"""Fine-tune a causal LM as an English NER model in a given number of seconds.

For a GPU that is rented by the minute: the learning rate follows the clock, so that the
run ends well whatever the GPU's speed. As in the project's workflow `smollm2`, the last
part of the time trains with quantized weights, in which the pipeline is saved.

    python -m benchmarks.gpu.finetune BASE TRAIN.spacy OUTPUT --seconds 300 \
        --dev conll=conll03_dev.spacy --dev ewt=ewt_dev.spacy
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Adam

from spacy_padellm.benchmark.subjects.pipelines import read_corpus
from spacy_padellm.training.update import Updates

LABELS = {
    "PER": "person",
    "LOC": "location",
    "ORG": "organization",
    "MISC": "miscellaneous",
}
# labels of WNUT-17; its other labels are no MISC that all corpora agree on
RENAMED = {
    "person": "PER",
    "location": "LOC",
    "group": "ORG",
    "corporation": "ORG",
}
SHARED = ("PER", "LOC", "ORG")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--dev", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--dev-texts", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--batch", type=int, default=32, help="texts of a step")
    parser.add_argument("--tokens", type=int, default=16384, help="of a pass")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--quantized-rate", type=float, default=1e-4)
    parser.add_argument("--quantized-from", type=float, default=0.75, help="of time")
    parser.add_argument("--save-every", type=int, default=0, help="steps")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    log: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}}
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    nlp = make_nlp(options)
    docs = read_corpus(options.train, nlp.vocab)
    print(f"{len(docs)} texts", flush=True)
    nlp.initialize(lambda: [as_example(nlp, doc) for doc in docs[:64]])
    pipe: Any = nlp.get_pipe("padellm_ner")
    log["steps"] = fine_tune(nlp, pipe, docs, options)
    options.output.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(options.output / "pipeline")
    dev = dict(pair.split("=") for pair in options.dev)
    log["dev"] = {
        corpus: evaluate(nlp, Path(path), limit=options.dev_texts)
        for corpus, path in dev.items()
    }
    print(json.dumps(log["dev"]), flush=True)
    (options.output / "log.json").write_text(json.dumps(log, indent=1), "utf8")


def make_nlp(options: argparse.Namespace) -> Language:
    """The pipeline to be trained."""
    nlp = spacy.blank("en")
    config = {
        "labels": LABELS,
        "model": {
            "@architectures": "spacy-padellm.CausalLM.v1",
            "name": str(options.base),
            "device": options.device,
            "dtype": options.dtype,
        },
        "prompt": {
            "@misc": "spacy-padellm.Prompt.v1",
            "preset": "compact",
            "prefix_lm": True,
        },
        "training": {
            "@misc": "spacy-padellm.Training.v1",
            "mention_prefix_loss": False,
            "max_batch_tokens": options.tokens,
            "tag_loss": 1.0,
        },
        "span_getter": {
            "@span_getters": "spacy-padellm.strided_spans.v1",
            "window": 128,
            "stride": 96,
        },
    }
    nlp.add_pipe("padellm_ner", config=config)
    return nlp


def fine_tune(
    nlp: Language, pipe: Any, docs: Sequence[Doc], options: argparse.Namespace
) -> list[dict[str, float]]:
    """Train until the time is over; gives what was logged."""
    sgd = Adam(0.0, beta1=0.9, beta2=0.98, L2=0.05, grad_clip=1.0, use_averages=False)
    logged: list[dict[str, float]] = []
    batches = endless(docs, options.batch, seed=options.seed)
    started = time.perf_counter()
    total, count, step, warmed = 0.0, 0, 0, 0
    while (share := (time.perf_counter() - started) / options.seconds) < 1:
        first = options.quantized_from
        if share >= first and not pipe.training.quantized:
            pipe.training = replace(pipe.training, quantized=True)
            pipe._updates, warmed = Updates(), 0
        rate = options.quantized_rate if pipe.training.quantized else options.rate
        part = (share - first) / (1 - first) if share >= first else share / first
        warmed += 1
        warm = min(1.0, warmed / 60)
        sgd.learn_rate = rate * warm * 0.5 * (1 + math.cos(math.pi * part))
        examples = [as_example(nlp, doc) for doc in next(batches)]
        losses = pipe.update(examples)
        pipe.finish_update(sgd)
        total, count, step = total + losses["padellm_ner"], count + 1, step + 1
        if step in {1, 10} or step % 25 == 0:
            seconds = time.perf_counter() - started
            logged.append(
                {"step": step, "seconds": round(seconds, 2), "loss": total / count}
            )
            print(logged[-1], f"rate {float(sgd.learn_rate):.1e}", flush=True)
            total, count = 0.0, 0
        if options.save_every and step % options.save_every == 0:
            nlp.to_disk(options.output / "checkpoint")
    if torch.cuda.is_available():
        print("memory GiB", torch.cuda.max_memory_allocated() / 2**30, flush=True)
    return logged


def endless(docs: Sequence[Doc], size: int, *, seed: int) -> Iterator[list[Doc]]:
    """Batches of texts, shuffled anew in each epoch."""
    rng = random.Random(seed)
    order = list(range(len(docs)))
    while True:
        rng.shuffle(order)
        for start in range(0, len(order) - size + 1, size):
            yield [docs[place] for place in order[start : start + size]]


def as_example(nlp: Language, gold: Doc) -> Example:
    """A gold Doc as training takes it."""
    words = [token.text for token in gold]
    spaces = [bool(token.whitespace_) for token in gold]
    plain = Doc(nlp.vocab, words=words, spaces=spaces)
    plain.user_data.update(gold.user_data)
    return Example(plain, gold)


def evaluate(nlp: Language, path: Path, *, limit: int) -> dict[str, Any]:
    """Span F1 on a corpus: all labels of CoNLL-2003, else PER, LOC and ORG."""
    golds = read_corpus(path, nlp.vocab)[:limit]
    present = {ent.label_ for doc in golds for ent in doc.ents}
    kept = LABELS if present <= set(LABELS) and "MISC" in present else SHARED
    texts = [as_example(nlp, doc).predicted for doc in golds]
    started = time.perf_counter()
    found = list(nlp.pipe(texts, batch_size=256))
    seconds = time.perf_counter() - started
    right = said = true = 0
    for doc, gold in zip(found, golds, strict=True):
        mine = {key(ent) for ent in doc.ents if ent.label_ in kept}
        theirs = {key(ent) for ent in gold.ents if label(ent) in kept}
        right += len(mine & theirs)
        said += len(mine)
        true += len(theirs)
    words = sum(map(len, golds))
    return {
        "f": round(2 * right / max(said + true, 1), 4),
        "p": round(right / max(said, 1), 4),
        "r": round(right / max(true, 1), 4),
        "words_a_second": round(words / seconds),
    }


def label(span: Span) -> str:
    """A gold label by the names of CoNLL-2003."""
    return RENAMED.get(span.label_, span.label_)


def key(span: Span) -> tuple[int, int, str]:
    """What must agree."""
    return span.start, span.end, label(span)


if __name__ == "__main__":
    main()
