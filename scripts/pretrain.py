"""Pretrain a small causal LM on plain text, to fine-tune for any of the decoders.

    python scripts/pretrain.py OUTPUT INPUT [...] --steps 1500

Inputs are folders of .txt files or .spacy corpora, whose annotation is ignored. Most of
the texts are followed by some of their own spans, chosen at random. This teaches the
model to copy from a text, which a model of this size learns last and every method
needs. The output is a Hugging Face folder.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy
import torch
from silver import collect
from spacy.tokens import DocBin
from transformers import Trainer, TrainingArguments

from spacy_padellm.lm.devices.choose import choose_device, fast_bf16
from spacy_padellm.lm.small_model import SmallShape, make_lm

SHAPE = SmallShape(
    vocab_size=8000,
    hidden_size=256,
    intermediate_size=768,
    layers=6,
    heads=4,
    key_value_heads=4,
    context=1024,
)
ROW = 256  # tokens
COPIED = 0.7  # share of texts that are followed by some of their spans
SPANS, LONGEST = 8, 4  # spans of a text, pieces of a span, at most
PIECE = re.compile(r"[㐀-鿿]|[^\s㐀-鿿]+")


def read(path: Path, rng: random.Random) -> list[str]:
    """Read the texts of an input."""
    if path.suffix == ".spacy":
        docs = DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)
        return [doc.text for doc in docs]
    return list(collect([path], rng))


def with_spans(text: str, rng: random.Random) -> str:
    """Append some spans of a text in text order, one per line."""
    pieces = [match.span() for match in PIECE.finditer(text)]
    if not pieces:
        return text
    count = rng.randint(1, SPANS)
    lines = [text]
    for first in sorted(rng.randrange(len(pieces)) for _ in range(count)):
        last = min(first + rng.randint(0, LONGEST - 1), len(pieces) - 1)
        lines.append(text[pieces[first][0] : pieces[last][1]])
    return "\n".join(lines)


class Rows(torch.utils.data.IterableDataset[dict[str, list[int]]]):
    """Endless rows of tokens from random texts, each text followed by `<eos>`."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, *, seed: int) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.seed = seed

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        rng = random.Random(self.seed)
        row: list[int] = []
        while True:
            sample = rng.choices(self.texts, k=64)
            texts = [
                with_spans(text, rng) if rng.random() < COPIED else text
                for text in sample
            ]
            for ids in self.tokenizer(texts)["input_ids"]:
                row += [*ids, self.tokenizer.eos_token_id]
            while len(row) >= ROW:
                yield {"input_ids": row[:ROW], "labels": row[:ROW]}
                row = row[ROW:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("inputs", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=8, help="rows of a step")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument(
        "--texts", type=int, default=60_000, help="most texts of an input"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    texts = []
    for path in args.inputs:
        found = read(path, rng)
        texts += rng.sample(found, min(len(found), args.texts))
    sample = rng.sample(texts, min(len(texts), 60_000))
    lm = make_lm(sample, SHAPE, special_tokens=[])
    trainer: Any = Trainer(
        lm.model,
        TrainingArguments(
            output_dir=str(args.output),
            per_device_train_batch_size=args.rows,
            max_steps=args.steps,
            learning_rate=args.rate,
            lr_scheduler_type="cosine",
            warmup_steps=100,
            adam_beta2=0.98,
            weight_decay=0.05,
            bf16=fast_bf16(choose_device("auto")),
            use_cpu=not torch.cuda.is_available(),
            logging_steps=50,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=args.seed,
        ),
        train_dataset=Rows(texts, lm.tokenizer, seed=args.seed),
    )
    trainer.train()
    print(f"{len(texts)} texts, {args.steps * args.rows * ROW} tokens of training")
    lm.model.save_pretrained(args.output)
    lm.tokenizer.save_pretrained(args.output)


if __name__ == "__main__":
    main()
