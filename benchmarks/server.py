"""Throughput of `ServerDecoder` with a vLLM server, compared with vLLM offline.

python -m benchmarks.server TEXTS.spacy --vllm .venv-vllm/bin/python [--shape 0.6B]

Both run the same prompts with the same settings, in turns, each with an empty cache at
its start. Offline, `LLM.generate` gets all count prompts at once, then all mention
prompts. The server gets the requests of the decoder. The model is one of this package
with causal attention. With --shape it is embedded in a larger shape: it gives the same
answers with the work of a model of that shape. `as_tree` is the share of the texts in
which the server's mentions are those of the local tree decoder with the same model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
import torch
from transformers import AutoModelForCausalLM

from benchmarks.vllm_processes import Offline, Process, Server, offline, serving
from benchmarks.widen import widened
from spacy_padellm.benchmark.subjects.pipelines import read_corpus
from spacy_padellm.benchmark.subjects.shapes import SHAPES
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.server.check import count_ends
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.loading import load_model, load_tokenizer
from spacy_padellm.lm.task.config import read_settings
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens


@dataclass(frozen=True, slots=True)
class Workload:
    """The texts to decode, with their prompt and labels."""

    prompt: PromptTokens
    labels: dict[str, str]
    texts: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--vllm", required=True, help="Python of vLLM's environment")
    parser.add_argument("--limit", type=int, default=200, help="number of texts")
    parser.add_argument("--model", default="bundled-en-sm", help="or a saved folder")
    parser.add_argument(
        "--shape", choices=["70M", "0.6B"], help="embed the model in a larger shape"
    )
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--rounds", type=int, default=3, help="repeats of each")
    parser.add_argument("--concurrency", type=int, default=64, help="texts in progress")
    parser.add_argument("--cores", default="0", help="cores of the engine's threads")
    parser.add_argument("--json", type=Path, help="the file for the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = run(args, Path(temporary))
    shown = json.dumps(result, indent=2)
    print(shown)
    if args.json:
        args.json.write_text(shown + "\n")


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure the server and vLLM offline, in turns."""
    source = BUNDLED.get(args.model, Path(args.model))
    workload = make_workload(source, args.texts, args.limit)
    save_model(source, folder / "model", shape=args.shape, dtype=args.dtype)
    engine = {
        "model": str(folder / "model"),
        "dtype": args.dtype,
        "max_num_seqs": 128,
        "block_size": 32,  # small enough that short texts share blocks, too
    }
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": args.cores,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with serving(args.vllm, engine, environment) as server:
        decoder = ServerDecoder(
            f"{server.root}/v1",
            max_concurrency=args.concurrency,
            max_retries=0,  # repeated requests would be extra work
            timeout=7200,
        )
        # the first run of each compiles and is not counted
        found = decode(decoder, None, workload.prompt, workload.texts, workload.labels)
        task = folder / "task.json"
        task.write_text(json.dumps({"rounds": rounds(workload, found)}))
        with offline(args.vllm, engine, environment, task) as peer:
            peer.run()
            runs = []
            for _ in range(args.rounds):
                runs.append(take_turns(server, peer, decoder, workload))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    return {
        "texts": len(workload.texts),
        "mentions": sum(map(len, found)),
        "as_tree": share_as_tree(found, folder / "model", workload, dtype=args.dtype),
        "model": Path(args.model).name,
        "shape": args.shape,
        "dtype": args.dtype,
        "engine_cores": args.cores,
        "cores": sorted(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "concurrency": args.concurrency,
        "runs": runs,
        "ratio_median": statistics.median(each["ratio"] for each in runs),
        "ratio_of_processor_median": statistics.median(
            each["ratio_of_processor"] for each in runs
        ),
        "ratio_of_best": min(each["offline"]["seconds"] for each in runs)
        / min(each["served"]["seconds"] for each in runs),
    }


def make_workload(model: Path, texts: Path, limit: int) -> Workload:
    """The first texts of a corpus, with a model's prompt and labels."""
    settings = read_settings(model)
    assert settings is not None
    assert settings.prompt is not None
    docs = read_corpus(texts, spacy.blank("en").vocab)
    prompt = PromptTokens(settings.prompt, load_tokenizer(str(model)))
    taken = [doc.text for doc in docs[:limit]]
    return Workload(prompt, dict(settings.labels), taken)


def save_model(source: Path, folder: Path, *, shape: str | None, dtype: str) -> None:
    """Save a model in a shape, with its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(source).to(getattr(torch, dtype))
    if shape is not None:
        model = widened(model, SHAPES[shape])
    model.save_pretrained(folder)
    load_tokenizer(str(source)).save_pretrained(folder)


def share_as_tree(
    found: Sequence[Sequence[Mention]], model: Path, workload: Workload, *, dtype: str
) -> float:
    """The share of the texts with the mentions of the local tree decoder.

    Counts are the most likely ones, and any token may be generated, as on the server.
    """
    lm = load_model(str(model), dtype=getattr(torch, dtype))
    tree = TreeDecoder(min_count_probability=None, from_text=False)
    local = decode(tree, lm, workload.prompt, workload.texts, workload.labels)
    same = [strings(a) == strings(b) for a, b in zip(found, local, strict=True)]
    return sum(same) / len(same)


def strings(mentions: Sequence[Mention]) -> list[tuple[str, int, str]]:
    return [(mention.label, mention.index, mention.text) for mention in mentions]


def take_turns(
    server: Server, peer: Offline, decoder: ServerDecoder, workload: Workload
) -> dict[str, Any]:
    """Seconds and processor seconds of one run on the server and one offline."""
    server.forget()
    before, client, start = server.seconds(), time.process_time(), time.perf_counter()
    decode(decoder, None, workload.prompt, workload.texts, workload.labels)
    served: dict[str, float] = {"seconds": time.perf_counter() - start}
    served["client"] = time.process_time() - client
    served |= spent(server, before)
    before = peer.seconds()
    alone = {"seconds": peer.run(), **spent(peer, before)}
    return {
        "served": served,
        "offline": alone,
        "ratio": alone["seconds"] / served["seconds"],
        # the ratio on one core without other work
        "ratio_of_processor": processor(alone) / processor(served),
    }


def processor(figures: Mapping[str, float]) -> float:
    """The sum of the processor seconds of all processes of a run."""
    return sum(value for name, value in figures.items() if name != "seconds")


def spent(process: Process, before: Mapping[str, float]) -> dict[str, float]:
    """Processor seconds since `before`."""
    return {name: now - before[name] for name, now in process.seconds().items()}


def rounds(
    workload: Workload, found: Sequence[Sequence[Mention]]
) -> list[dict[str, Any]]:
    """All prompts of both rounds, for the mentions that were found."""
    names = list(workload.labels.values())
    counts, mentions = [], []
    count_prompts = workload.prompt.count_prompts(workload.texts, names)
    for text, asked, text_mentions in zip(
        workload.texts, count_prompts, found, strict=True
    ):
        for (label, name), sequence in zip(
            workload.labels.items(), asked.sequences, strict=True
        ):
            counts.append(sequence)
            count = sum(mention.label == label for mention in text_mentions)
            if count:
                prompts = workload.prompt.mention_prompts(
                    text, name, count=count, number=count
                )
                mentions += prompts.sequences(sequence)
    stop = [workload.prompt.eos, *count_ends(workload.prompt)]
    return [
        {"prompts": counts, "max_tokens": MAX_COUNT_TOKENS, "stop": stop},
        {"prompts": mentions, "max_tokens": 64, "stop": [workload.prompt.eos]},
    ]


if __name__ == "__main__":
    main()
