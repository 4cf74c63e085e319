"""Time vLLM on the paper's two rounds of prompts; runs in vLLM's environment.

python vllm_rounds.py TASK.json OUT.json

It imports nothing of this package, because vLLM needs other versions of packages.
Prompts are token ids; the length of each answer is forced.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any


def main(task_path: str, out_path: str) -> None:
    """Read the task, write the timings.

    task_path (str): JSON: "engine" (arguments of vllm.LLM), "repeats", and "texts":
        for each text a list of rounds, each a list of [prompt, answer length].
    out_path (str): JSON: "latencies" (seconds a text), "stream_seconds", "version".
    """
    import vllm

    task = json.loads(Path(task_path).read_text("utf8"))
    llm = vllm.LLM(**task["engine"], skip_tokenizer_init=True)
    texts = task["texts"]
    time_alone(llm, texts)  # warm-up
    latencies, streams = [], []
    for _ in range(task["repeats"]):
        empty_cache(llm)
        latencies.append(time_alone(llm, texts))
        empty_cache(llm)
        streams.append(time_stream(llm, texts))
    figures = {
        "latencies": list(map(statistics.median, zip(*latencies, strict=True))),
        "stream_seconds": statistics.median(streams),
        "version": vllm.__version__,
    }
    Path(out_path).write_text(json.dumps(figures), "utf8")


def time_alone(llm: Any, texts: list[Any]) -> list[float]:
    """The seconds of each text, one at a time.

    llm (vllm.LLM): The engine.
    texts (list): See `main`.
    """
    seconds = []
    for rounds in texts:
        start = time.perf_counter()
        for requests in rounds:
            generate(llm, requests)
        seconds.append(time.perf_counter() - start)
    return seconds


def time_stream(llm: Any, texts: list[Any]) -> float:
    """The seconds of all texts: their first rounds together, then the second ones.

    llm (vllm.LLM): The engine.
    texts (list): See `main`.
    """
    start = time.perf_counter()
    for requests in zip(*texts, strict=True):
        generate(llm, [request for text in requests for request in text])
    return time.perf_counter() - start


def generate(llm: Any, requests: list[Any]) -> None:
    """Generate answers of a forced length.

    llm (vllm.LLM): The engine.
    requests (list[Any]): Pairs of a prompt's tokens and the answer's length.
    RAISES (RuntimeError): If an answer has another length.
    """
    import vllm

    if not requests:
        return
    prompts = [{"prompt_token_ids": prompt} for prompt, _ in requests]
    lengths = [length for _, length in requests]
    settings = [
        vllm.SamplingParams(
            temperature=0,
            min_tokens=length,
            max_tokens=length,
            ignore_eos=True,
            detokenize=False,
        )
        for length in lengths
    ]
    outputs = llm.generate(prompts, settings, use_tqdm=False)
    found = [len(output.outputs[0].token_ids) for output in outputs]
    if found != lengths:
        raise RuntimeError(f"vLLM generated {found} tokens, not {lengths}")


def empty_cache(llm: Any) -> None:
    """Forget all prefixes: they are not shared between measurements.

    llm (vllm.LLM): The engine.
    RAISES (RuntimeError): If vLLM keeps them.
    """
    if not llm.reset_prefix_cache():
        raise RuntimeError("vLLM did not empty its prefix cache")


if __name__ == "__main__":
    main(*sys.argv[1:])
