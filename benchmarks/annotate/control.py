"""The control: plain `nlp.pipe` in independent processes.

Each process annotates its part of the texts with `nlp.pipe`. Loading is not timed. This
file is also the program of these processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.annotate.command import Corpus
from spacy_padellm.annotate.pipeline import load_checked

READY, GO = "ready", "go"


def plain_rate(corpus: Corpus, *, processes: int, texts: int) -> float:
    """Texts per second of independent processes.

    corpus (Corpus): The corpus.
    processes (int): Number of processes.
    texts (int): Number of texts of all processes together.
    RETURNS (float): The rate from when all have loaded the pipeline until the last one
        has finished.
    RAISES (SystemExit): If a process fails.
    """
    ends = [texts * number // processes for number in range(processes + 1)]
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.annotate.control"),
                *(str(corpus.pipeline), str(corpus.source), str(start), str(end)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for start, end in pairwise(ends)
    ]
    for process in running:
        if _read_line(process) != READY:
            raise SystemExit("A process of the control ended early")
    for process in running:
        assert process.stdin is not None
        process.stdin.write(GO + "\n")
        process.stdin.flush()
    seconds = [float(_read_line(process)) for process in running]
    for process in running:
        process.communicate()
    return texts / max(seconds)


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    """Run one of the processes."""
    pipeline, source, start, end = sys.argv[1:]
    nlp = load_checked(pipeline)
    with Path(source).open(encoding="utf8") as file:
        texts = [json.loads(line)["text"] for line in file][int(start) : int(end)]
    print(READY, flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    with nlp.memory_zone():
        for _ in nlp.pipe(texts):
            pass
    print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
