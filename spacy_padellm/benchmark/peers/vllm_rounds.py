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

    def run(requests: list[Any]) -> None:
        if not requests:
            return
        prompts = [{"prompt_token_ids": prompt} for prompt, _ in requests]
        lengths = [
            vllm.SamplingParams(
                temperature=0,
                min_tokens=length,
                max_tokens=length,
                ignore_eos=True,
                detokenize=False,
            )
            for _, length in requests
        ]
        outputs = llm.generate(prompts, lengths, use_tqdm=False)
        got = [len(output.outputs[0].token_ids) for output in outputs]
        wanted = [length for _, length in requests]
        if got != wanted:
            raise RuntimeError(f"vLLM generated {got} tokens, not {wanted}")

    def alone() -> list[float]:
        times = []
        for rounds in task["texts"]:
            start = time.perf_counter()
            for requests in rounds:
                run(requests)
            times.append(time.perf_counter() - start)
        return times

    def stream() -> float:
        # the first round of all texts together, then the second round
        start = time.perf_counter()
        for requests in zip(*task["texts"], strict=True):
            run([request for text in requests for request in text])
        return time.perf_counter() - start

    def fresh() -> None:
        # prefixes are shared within a measurement, but not between measurements
        if not llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache")

    alone()  # warm-up
    latencies, streams = [], []
    for _ in range(task["repeats"]):
        fresh()
        latencies.append(alone())
        fresh()
        streams.append(stream())
    found = {
        "latencies": list(map(statistics.median, zip(*latencies, strict=True))),
        "stream_seconds": statistics.median(streams),
        "version": vllm.__version__,
    }
    Path(out_path).write_text(json.dumps(found), "utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
