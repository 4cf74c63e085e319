"""Where the time of one text alone, and of a stream, goes: kernels, launches, waits.

python -m benchmarks.gpu.profile conll03_dev.spacy --shape 7B --json profile.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from spacy_padellm.benchmark.gold import choose, names_of, read_gold
from spacy_padellm.benchmark.subjects.shapes import SHAPES, make_shaped
from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.prompt.template import PRESETS

TOP = 14  # kernels and calls that are listed
LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaGraphLaunch",
)
WAITS = ("Synchronize", "cudaMemcpy", "cudaMalloc", "cudaFree")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7B")
    parser.add_argument("--texts", type=int, default=200, help="of the stream")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    golds = choose(read_gold(options.gold, lang="en"), options.texts)
    lm = make_shaped(
        options.shape,
        [gold.text for gold in golds],
        device=torch.device(options.device),
        dtype=torch.bfloat16,
        seed=0,
    )
    prompt = lm.tokens_of(PRESETS["compact"])
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions for gold in golds})
    labels = names_of(golds)
    texts = [gold.text for gold in golds]
    found: dict[str, Any] = {"shape": options.shape}
    runs: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
        "alone": ({}, [[text] for text in texts[:10]]),
        "stream": ({}, [texts]),
        "stream of large passes": ({"max_batch_tokens": 8192}, [texts]),
    }
    if options.device != "cpu":
        runs["alone, graphs"] = ({"cuda_graphs": True}, [[text] for text in texts[:10]])
    for name, (settings, batches) in runs.items():
        decoder = TreeDecoder(**settings)

        def decode(
            batches: Sequence[Sequence[str]] = batches, decoder: TreeDecoder = decoder
        ) -> None:
            for batch in batches:
                for result in decoder.stream(
                    DecodeJob(prompt, labels, lm, forced), batch
                ):
                    if isinstance(result, ValueError):
                        raise result

        decode()
        found[name] = measure(decode, sum(map(len, batches)))
        shown = {k: v for k, v in found[name].items() if not isinstance(v, list)}
        print(name, json.dumps(shown), flush=True)
        if options.json:  # at once: the time may end
            options.json.write_text(json.dumps(found, indent=1) + "\n", "utf8")


def measure(decode: Any, texts: int) -> dict[str, Any]:
    """Time a run, then profile the same run."""
    cuda = torch.cuda.is_available()
    wait: Callable[[], None] = torch.cuda.synchronize if cuda else lambda: None
    wait()
    start = time.perf_counter()
    decode()
    wait()
    seconds = time.perf_counter() - start
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with profile(activities=activities) as profiled:
        decode()
        wait()
    busy: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in profiled.key_averages():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            busy[event.key] += event.self_device_time_total
            calls[f"kernel {event.key}"] += event.count
        else:
            calls[event.key] += event.count
    kernels = sum(busy.values()) / 1e6
    return {
        "ms a text": 1000 * seconds / texts,
        "share of the time with kernels": kernels / seconds,
        "launches a text": sum(calls[name] for name in LAUNCHES) / texts,
        "launches by call": {
            name: calls[name] / texts for name in LAUNCHES if calls[name]
        },
        "waits a text": {
            name: count / texts
            for name, count in calls.items()
            if name.startswith("cuda") and any(wait in name for wait in WAITS)
        },
        "kernels": [
            {"name": name, "ms a text": us / 1000 / texts}
            for name, us in busy.most_common(TOP)
        ],
        "operations": [
            {"name": name, "a text": count / texts}
            for name, count in calls.most_common(3 * TOP)
        ],
    }


if __name__ == "__main__":
    main()
