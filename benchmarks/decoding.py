"""Tree decoding against the paper's batch, forced to the gold mentions.

A model of a given shape with random weights does its true amount of work: each
decoder is made to give the gold answers. One run measures both side by side, one text
at a time and, for the tree, in batches.

    python -m benchmarks.decoding CORPUS.spacy --shape 70M --texts 40 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.tokens import Doc, DocBin
from transformers import AutoModelForCausalLM, Qwen3Config
from wasabi import msg

from spacy_padellm.decoding.base import Decoder, Forced
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.tree import TreeDecoder
from spacy_padellm.lm import LanguageModel, choose_device, choose_dtype
from spacy_padellm.prompt import PRESETS, PromptTokens
from spacy_padellm.scratch import learn_tokenizer

# hidden, intermediate, layers, heads, key-value heads, head size, vocabulary
SHAPES = {
    "7M": (256, 768, 6, 4, 4, 64, 8_000),
    "70M": (512, 1536, 12, 8, 4, 64, 50_000),
    "0.6B": (1024, 3072, 28, 16, 8, 128, 151_936),
}
NAMES = {"PER": "person", "LOC": "location", "ORG": "organization"}
SPANS_KEY = "padellm"


def make_lm(shape: str, texts: list[str], device: torch.device) -> LanguageModel:
    """A Qwen3-like model with random weights."""
    hidden, intermediate, layers, heads, kv_heads, head_size, vocabulary = SHAPES[shape]
    tokenizer = learn_tokenizer(
        texts,
        vocab_size=min(20_000, vocabulary),
        special_tokens=PRESETS["compact"].special_tokens,
    )
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_size,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config)
    dtype = choose_dtype("auto", device)
    return LanguageModel(model.to(dtype).eval(), tokenizer)


def read_corpus(path: Path) -> list[Doc]:
    """The Docs of a converted corpus."""
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


def choose_gold(docs: list[Doc], count: int) -> dict[str, dict[str, list[str]]]:
    """Text -> label -> mentions, of distinct texts spread over the corpus."""
    docs = docs[:: max(1, len(docs) // count)][:count]
    gold: dict[str, dict[str, list[str]]] = {}
    for doc in docs:
        mentions = gold.setdefault(doc.text, {})
        if not mentions:
            for span in doc.spans.get(SPANS_KEY, doc.ents):
                mentions.setdefault(span.label_, []).append(span.text)
    return gold


def measure(
    lm: LanguageModel,
    prompt: PromptTokens,
    decoder: Decoder,
    gold: dict[str, dict[str, list[str]]],
    labels: dict[str, str],
    *,
    size: int,
) -> dict[str, float]:
    """Milliseconds and forward passes a text, `size` texts at a time."""
    forced = Forced(prompt, gold)
    texts = list(gold)
    passes = 0

    def count_pass(*args: Any) -> None:
        nonlocal passes
        passes += 1

    decoder(lm, prompt, texts[:2], labels, forced=forced)
    hook = lm.model.get_decoder().register_forward_pre_hook(count_pass)
    times = []
    for place in range(0, len(texts), size):
        some = texts[place : place + size]
        start = time.perf_counter()
        found = decoder(lm, prompt, some, labels, forced=forced)
        times.append((time.perf_counter() - start) / len(some))
        wanted = [sum(map(len, gold[text].values())) for text in some]
        assert [len(mentions) for mentions in found] == wanted
    hook.remove()
    return {
        "mean_ms": 1000 * statistics.fmean(times),
        "median_ms": 1000 * statistics.median(times),
        "passes": passes / len(texts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="70M")
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--preset", choices=PRESETS, default="paper-en")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = choose_device(args.device)
    docs = read_corpus(args.corpus)
    gold = choose_gold(docs, args.texts)
    lm = make_lm(args.shape, [doc.text for doc in docs], device)
    found = sorted({label for mentions in gold.values() for label in mentions})
    labels = {label: NAMES.get(label, label.lower()) for label in found}
    prompt = lm.tokens_of(PRESETS[args.preset])
    runs: dict[str, tuple[Decoder, int]] = {
        "batch, one text at a time": (BatchDecoder(), 1),
        "tree without drafts, one text at a time": (TreeDecoder(draft_tokens=0), 1),
        "tree, one text at a time": (TreeDecoder(), 1),
        "tree, 64 texts at a time": (TreeDecoder(), 64),
    }
    results = {
        name: measure(lm, prompt, decoder, gold, labels, size=size)
        for name, (decoder, size) in runs.items()
    }
    reference = results["batch, one text at a time"]["mean_ms"]
    rows = []
    for name, result in results.items():
        result["faster_than_batch"] = reference / result["mean_ms"]
        figures = (f"{result[key]:.1f}" for key in ("mean_ms", "median_ms", "passes"))
        rows.append((name, *figures, f"{result['faster_than_batch']:.2f}x"))
    header = ("decoder", "ms a text", "median", "passes a text", "faster")
    msg.table(rows, header=header, divider=True)
    if args.json:
        facts = {
            "shape": args.shape,
            "parameters": sum(p.numel() for p in lm.model.parameters()),
            "preset": args.preset,
            "texts": len(gold),
            "labels": len(labels),
            "dtype": str(lm.dtype),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "results": results,
        }
        args.json.write_text(json.dumps(facts, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
