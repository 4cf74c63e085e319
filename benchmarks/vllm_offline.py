"""Time `LLM.generate` on prepared prompts; runs in vLLM's own environment.

python vllm_offline.py TASK.json: for each line that comes in, one that goes out, with
the seconds of all rounds. The first is not to be counted: it compiles.
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
        for asked in work["rounds"]:
            params = SamplingParams(
                temperature=0,
                max_tokens=asked["max_tokens"],
                stop_token_ids=asked["stop"],
                logprobs=1,
            )
            prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
            llm.generate(prompts, params, use_tqdm=False)
        # a mark, as vLLM's log goes the same way
        print("seconds", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
