"""vLLM as a peer: the same weights and prompts, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spacy_padellm.benchmark.measure import Measurement
from spacy_padellm.benchmark.report import VLLM
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import PromptTokens

SCRIPT = Path(__file__).parent / "vllm_rounds.py"
SHOWN_LINES = 15
# tokens of a block of vLLM's cache, which are shared as a whole: by default a text of
# less than 128 tokens would share nothing, and of less than 32 its CPU kernel is slower
BLOCK = 32

Request = tuple[list[int], int]  # prompt, tokens of the answer


def rounds(
    prompt: PromptTokens, gold: GoldText, labels: Mapping[str, str]
) -> tuple[list[Request], list[Request]]:
    """The paper's two rounds of prompts for a text, a request each sequence.

    prompt (PromptTokens): The prompt.
    gold (GoldText): The text and the mentions to be given.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    RETURNS (tuple[list[Request], list[Request]]): Counts, then mentions.
    """
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions})
    (branches,) = prompt.count_branches([gold.text], list(labels.values()))
    counts: list[Request] = []
    mentions: list[Request] = []
    for (label, name), ids in zip(labels.items(), branches.labels, strict=True):
        asked = branches.root + ids
        counts.append((asked, len(forced.count(gold.text, label))))
        count = len(gold.mentions.get(label, ()))
        if not count:
            continue
        branch = prompt.mention_branches(gold.text, name, count, count)
        stem = asked[: branch.keep] + branch.stem
        for n, rest in enumerate(branch.mentions, start=1):
            mentions.append((stem + rest, len(forced.mention(gold.text, label, n))))
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
    """Measure vLLM, prefix caching on, answers' lengths forced.

    python (str): The interpreter of vLLM's environment.
    lm (LanguageModel): The model, which is saved for it.
    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts and their mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    words, repeats (int): See `measure`.
    seed (int): vLLM's.
    RETURNS (tuple[Measurement, str]): The figures, and vLLM's version.
    RAISES (ValueError): If it does not run.
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
        # in one process, on the threads that the decoders have
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
    """The cores that vLLM is to bind its threads to."""
    if not hasattr(os, "sched_getaffinity"):
        return "auto"
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
