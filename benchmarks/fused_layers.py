"""How fast fused layers are against those of transformers, and against torch.compile.

    OMP_NUM_THREADS=1 python -m benchmarks.fused_layers --rounds 15
    OMP_NUM_THREADS=1 python -m benchmarks.fused_layers --compile 64,80,96

Random models of width 512 with 6 layers. They decode token trees as texts are, in two
passes: prompts of 48 tokens, and then 12 new tokens of each tree. With --compile, the
layers of Llama run over single sequences of these lengths instead, as torch.compile
cannot run our attention to a KV cache in one graph. All times are those of the
processor: other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    Qwen3Config,
)

from spacy_padellm.lm.attention.padded import PaddedAttention
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

WIDTH, HEADS, VOCABULARY = 512, 8, 1000
PROMPT, NEW = 48, 12
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 3 * WIDTH,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "head_dim": WIDTH // HEADS,
    "pad_token_id": None,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda n: LlamaConfig(**SIZES, num_hidden_layers=n),
    "qwen3": lambda n: Qwen3Config(**SIZES, num_hidden_layers=n),
    "gemma": lambda n: GemmaConfig(**SIZES, num_hidden_layers=n),
    "gemma3": lambda n: Gemma3TextConfig(
        **SIZES, num_hidden_layers=n, query_pre_attn_scalar=WIDTH // HEADS
    ),
    "gpt2": lambda n: GPT2Config(
        vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=n, n_head=HEADS
    ),
}


def make_lm(kind: str, layers: int, dtype: torch.dtype) -> LanguageModel:
    """A random model that is no longer trained."""
    torch.manual_seed(0)
    config = CONFIGS[kind](layers)
    model = AutoModelForCausalLM.from_config(config)
    lm = LanguageModel(model.to(dtype).eval(), None)
    lm.pack_weights()
    return lm


def decode(lm: LanguageModel, count: int) -> None:
    """The two passes of some trees."""
    trees, cache = [TokenTree() for _ in range(count)], TreeKVCache()
    ends = [tree.extend(ROOT, list(range(3, 3 + PROMPT))) for tree in trees]
    lm.packed_logits(pack(trees, 0), [0], cache)
    for tree, end in zip(trees, ends, strict=True):
        tree.extend(end, list(range(7, 7 + NEW)))
    lm.packed_logits(pack(trees, count), list(range(count)), cache)


def seconds(run: Callable[[], Any]) -> float:
    """The time of the processor, with that of the compiler."""
    start = used()
    run()
    return used() - start


def used() -> float:
    """The seconds that the processor worked for this process."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def in_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median milliseconds of each function; the first round is not counted."""
    times = [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]
    return {
        name: round(1000 * statistics.median(row[name] for row in times[1:]), 2)
        for name in runs
    }


def compare_decoding(lm: LanguageModel, count: int, rounds: int) -> dict[str, Any]:
    """Decode with fused layers and with those of transformers, in turns."""

    def run(fused: bool) -> None:
        lm.fused_layers = fused
        decode(lm, count)

    runs = {"fused": lambda: run(True), "transformers": lambda: run(False)}
    kind = lm.model.config.model_type
    return {"kind": kind, "trees": count, **in_turns(runs, rounds)}


def compare_compiled(
    lm: LanguageModel, compiled: Any, length: int, rounds: int
) -> dict[str, Any]:
    """Run the layers of a model over a sequence: compiled, fused and as they are."""
    inner, layers = lm.model.model, lm.layers
    assert layers is not None
    ids, positions = torch.arange(length) % VOCABULARY, torch.arange(length)
    mask = torch.full((1, 1, length, length), -torch.inf, dtype=lm.dtype).triu(1)
    inputs = {
        "input_ids": ids[None],
        "position_ids": positions[None],
        "attention_mask": mask,
        "use_cache": False,
    }
    runs: dict[str, Callable[[], torch.Tensor]] = {
        "fused": lambda: layers(ids, positions, PaddedAttention(mask)),
        "transformers": lambda: inner(**inputs).last_hidden_state[0],
        "compiled": lambda: compiled(**inputs).last_hidden_state[0],
    }
    first = seconds(runs["compiled"])
    fused, expected, found = (run() for run in runs.values())
    for output in (fused, found):
        assert (output - expected).norm() < 0.05 * expected.norm()
    return {
        "tokens": length,
        "seconds_compiling": round(first, 2),
        **in_turns(runs, rounds),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--kinds", default=",".join(CONFIGS))
    parser.add_argument("--trees", default="1,8", help="trees of a pass")
    parser.add_argument("--compile", metavar="LENGTHS", help="e.g. 64,80,96")
    parser.add_argument("--dynamic", action="store_true", help="compile for any length")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    torch.set_num_threads(1)
    with torch.inference_mode():
        if args.compile:
            lm = make_lm("llama", args.layers, dtype)
            compiled = torch.compile(lm.model.model, dynamic=args.dynamic)
            for length in map(int, args.compile.split(",")):
                show(compare_compiled(lm, compiled, length, args.rounds))
        else:
            for kind in args.kinds.split(","):
                lm = make_lm(kind, args.layers, dtype)
                for count in map(int, args.trees.split(",")):
                    show(compare_decoding(lm, count, args.rounds))


def show(row: dict[str, Any]) -> None:
    """Print the milliseconds, and how many times those of fused layers they are."""
    ratios = {
        f"{name} / fused": round(row[name] / row["fused"], 2)
        for name in ("transformers", "compiled")
        if name in row
    }
    print(json.dumps({**row, **ratios}), flush=True)


if __name__ == "__main__":
    main()
