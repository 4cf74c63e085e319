"""Throughput of `ServerDecoder` on a vLLM server, against vLLM's own offline one.

python -m benchmarks.server TEXTS.spacy --vllm .venv-vllm/bin/python [--layers 6]

Both run the same prompts with the same settings, one after the other: offline, all
counts at once, then all mentions at once by `LLM.generate`; served, what the decoder
sends. The model is the bundled one. `--layers` gives it more layers that change
nothing, so that it answers the same with as much work as a larger model.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import spacy
import torch
from spacy.tokens import DocBin

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.server import ServerDecoder
from spacy_padellm.decoding.server_check import count_ends
from spacy_padellm.lm import BUNDLED, LanguageModel, load
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import MAX_COUNT_TOKENS, PromptTokens
from spacy_padellm.settings import read_settings

ENGINE = {"dtype": "float32", "max_num_seqs": 128, "block_size": 32}
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What is decoded, and how."""

    prompt: PromptTokens
    labels: dict[str, str]
    texts: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--vllm", required=True, help="Python of vLLM's environment")
    parser.add_argument("--limit", type=int, default=200, help="number of texts")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model")
    parser.add_argument("--rounds", type=int, default=3, help="repeats of each")
    args = parser.parse_args()
    settings = read_settings(BUNDLED["bundled-en"])
    assert settings is not None
    assert settings.prompt is not None
    lm = load("bundled-en")
    docs = DocBin().from_disk(args.texts).get_docs(spacy.blank("en").vocab)
    texts = [doc.text for doc in islice(docs, args.limit)]
    work = Work(lm.tokens_of(settings.prompt), dict(settings.labels), texts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_deeper(lm, folder / "model", args.layers)
        found, served = time_served(work, folder, args.vllm, args.rounds)
        prompts = offline_prompts(work, found)
        (folder / "prompts.json").write_text(json.dumps(prompts))
        offline = time_offline(folder, args.vllm, args.rounds)
    result = {
        "texts": len(texts),
        "layers": args.layers,
        "mentions": sum(map(len, found)),
        "served_texts_per_second": [len(texts) / s for s in served],
        "offline_texts_per_second": [len(texts) / s for s in offline],
        "ratio_of_best": min(offline) / min(served),
    }
    print(json.dumps(result, indent=2))


def save_deeper(lm: LanguageModel, folder: Path, layers: int) -> None:
    """Save the model with layers added that add nothing to the residual stream."""
    config = type(lm.model.config)(**lm.model.config.to_dict())
    config.num_hidden_layers = layers
    config.layer_types = ["full_attention"] * layers
    deeper = type(lm.model)(config)
    deeper.load_state_dict(lm.model.state_dict(), strict=False)
    with torch.no_grad():
        for layer in deeper.model.layers[lm.model.config.num_hidden_layers :]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    deeper.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)


def time_served(
    work: Work, folder: Path, python: str, rounds: int
) -> tuple[list[list[Mention]], list[float]]:
    """What the decoder finds on a server, and the seconds of each round."""
    with serving(folder, python) as url:
        decoder = ServerDecoder(url, max_concurrency=64)
        seconds = []
        # the first round compiles, fills the cache and is not counted
        for number, texts in enumerate(renewed(work.texts, rounds + 1)):
            start = time.perf_counter()
            found = decode(decoder, None, work.prompt, texts, work.labels)
            if number:
                seconds.append(time.perf_counter() - start)
    return found, seconds


def renewed(texts: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """The same texts for each round, with another beginning, so that none is cached.

    The last round has the texts as they are.
    """
    for number in range(rounds - 1, -1, -1):
        yield [f"{number} {text}" if number else text for text in texts]


def offline_prompts(
    work: Work, found: Sequence[Sequence[Mention]]
) -> dict[str, object]:
    """All prompts of both rounds, by what was found."""
    names = list(work.labels.values())
    counts, mentions = [], []
    branches = work.prompt.count_branches(work.texts, names)
    for text, branch, of_text in zip(work.texts, branches, found, strict=True):
        for (label, name), ids in zip(work.labels.items(), branch.labels, strict=True):
            sequence = branch.root + ids
            counts.append(sequence)
            count = sum(mention.label == label for mention in of_text)
            if count:
                asked = work.prompt.mention_branches(text, name, count, count)
                path = sequence[: asked.keep] + asked.stem
                mentions += [path + ids for ids in asked.mentions]
    stop = [work.prompt.eos, *count_ends(work.prompt)]
    return {
        "engine": ENGINE,
        "rounds": [
            {"prompts": counts, "max_tokens": MAX_COUNT_TOKENS, "stop": stop},
            {"prompts": mentions, "max_tokens": 64, "stop": [work.prompt.eos]},
        ],
    }


def time_offline(folder: Path, python: str, rounds: int) -> list[float]:
    """Seconds of each round of `LLM.generate`."""
    script = Path(__file__).with_name("vllm_offline.py")
    command = [python, str(script), str(folder), str(rounds)]
    environment = {**os.environ, **ENVIRONMENT}
    subprocess.run(command, check=True, env=environment)
    seconds: list[float] = json.loads((folder / "offline.json").read_text())
    return seconds


@contextmanager
def serving(folder: Path, python: str) -> Iterator[str]:
    """A vLLM server on loopback; gives its base URL."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder / "model"), "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--disable-uvicorn-access-log"]
    for name, value in ENGINE.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    main()
