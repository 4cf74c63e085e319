"""vLLM as a peer: the same weights and prompts, in a separate environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.results.report import VLLM
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens

SCRIPT = Path(__file__).parent / "vllm_rounds.py"
SHOWN_LINES = 15
# tokens of a block of vLLM's prefix cache, which shares only complete blocks; with the
# default of 128 short texts would share nothing, and below 32 its CPU kernel is slower
BLOCK = 32

Request = tuple[list[int], int]  # prompt, tokens of the answer


def rounds(
    prompt: PromptTokens, gold: GoldText, labels: Mapping[str, str]
) -> tuple[list[Request], list[Request]]:
    """The paper's two rounds of prompts for a text, one request for each sequence.

    prompt (PromptTokens): The prompt.
    gold (GoldText): The text and its gold mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (tuple[list[Request], list[Request]]): Counts, then mentions.
    """
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions})
    (count_prompts,) = prompt.count_prompts([gold.text], list(labels.values()))
    counts: list[Request] = []
    mentions: list[Request] = []
    for (label, name), sequence in zip(
        labels.items(), count_prompts.sequences, strict=True
    ):
        counts.append((sequence, len(forced.count(gold.text, label))))
        count = len(gold.mentions.get(label, ()))
        if not count:
            continue
        prompts = prompt.mention_prompts(gold.text, name, count=count, number=count)
        for n, ids in enumerate(prompts.sequences(sequence), start=1):
            mentions.append((ids, len(forced.mention(gold.text, label, n))))
    return counts, mentions


def measure_vllm(
    python: str,
    lm: LanguageModel,
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    words: int,
    repeats: int,
    seed: int,
) -> tuple[Measurement, str]:
    """Measure vLLM with prefix caching and forced lengths of answers.

    python (str): The Python interpreter of vLLM's environment.
    lm (LanguageModel): The model.
    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts and their mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    words, repeats (int): See `measure`.
    seed (int): vLLM's seed.
    RETURNS (tuple[Measurement, str]): The figures, and vLLM's version.
    RAISES (ValueError): If vLLM does not run.
    """
    texts = [rounds(prompt, gold, labels) for gold in golds]
    requests = [request for text in texts for kind in text for request in kind]
    longest = max(len(ids) + length for ids, length in requests)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lm.model.save_pretrained(folder / "model")
        lm.tokenizer.save_pretrained(folder / "model")
        engine: dict[str, Any] = {
            "model": str(folder / "model"),
            "dtype": str(lm.dtype).removeprefix("torch."),
            "enable_prefix_caching": True,
            "max_model_len": min(lm.context, -(-longest // BLOCK) * BLOCK),
            "block_size": BLOCK,
            "seed": seed,
        }
        task = {"engine": engine, "repeats": repeats, "texts": texts}
        (folder / "task.json").write_text(json.dumps(task), "utf8")
        _run(python, folder)
        found = json.loads((folder / "out.json").read_text("utf8"))
    result = Measurement(
        "vLLM", VLLM, found["latencies"], found["stream_seconds"], words
    )
    return result, found["version"]


def _run(python: str, folder: Path) -> None:
    arguments = [python, str(SCRIPT), str(folder / "task.json")]
    environment = {
        **os.environ,
        # in one process, with as many threads as the decoders
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": _cores(torch.get_num_threads()),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    try:
        done = subprocess.run(
            [*arguments, str(folder / "out.json")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ValueError(Errors.P169.format(python=python, error=error)) from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:]
        message = Errors.P169.format(python=python, error="\n".join(lines))
        raise ValueError(message)


def _cores(threads: int) -> str:
    """The cores for vLLM's threads."""
    if not hasattr(os, "sched_getaffinity"):
        return "auto"
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
