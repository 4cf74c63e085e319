"""Time `LLM.generate` on prepared prompts; runs in vLLM's own environment.

python vllm_offline.py TASK.json: for each line of standard input, one run, and a line
of standard output with its seconds. The first run compiles and must not be counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(task: Path) -> None:
    from vllm import LLM, SamplingParams

    work = json.loads(task.read_text())
    llm = LLM(enforce_eager=True, **work["engine"])
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        start = time.perf_counter()
        for batch in work["rounds"]:
            params = SamplingParams(
                temperature=0,
                max_tokens=batch["max_tokens"],
                stop_token_ids=batch["stop"],
                logprobs=1,
            )
            prompts = [{"prompt_token_ids": ids} for ids in batch["prompts"]]
            llm.generate(prompts, params, use_tqdm=False)
        # marked by a word, because vLLM logs to standard output, too
        print("seconds", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
