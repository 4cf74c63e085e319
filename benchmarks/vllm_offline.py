"""Time `LLM.generate` on prepared prompts; runs in vLLM's own environment.

python vllm_offline.py FOLDER ROUNDS, with FOLDER/model and FOLDER/prompts.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(folder: Path, rounds: int) -> None:
    from vllm import LLM, SamplingParams

    work = json.loads((folder / "prompts.json").read_text())
    llm = LLM(str(folder / "model"), enforce_eager=True, **work["engine"])
    seconds = []
    for number in range(rounds + 1):
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
        if number:  # the first compiles
            seconds.append(time.perf_counter() - start)
    (folder / "offline.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
