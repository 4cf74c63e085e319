"""Runs the command, and reads its output."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.annotate.memory import Memory, read_memory

POLL_SECONDS = 0.5
REJECTED_EXIT = 3


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus and the pipeline that annotates it.

    pipeline (Path): The pipeline's folder.
    source (Path): The file of texts.
    texts (int): Number of texts.
    shard_size (int): Texts of a shard.
    """

    pipeline: Path
    source: Path
    texts: int
    shard_size: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.texts // self.shard_size)


def start(corpus: Corpus, output: Path, *, workers: int) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [sys.executable, "-m", "spacy", "padellm", "annotate"]
    command += [str(corpus.pipeline), str(corpus.source), "--output", str(output)]
    command += ["--shard-size", str(corpus.shard_size), "--keep-columns", "id"]
    return subprocess.Popen([*command, "--workers", str(workers)])


def done(output: Path) -> int:
    """Number of finished shards."""
    return len(list((output / "shards").glob("part-*")))


def watch(process: subprocess.Popen[bytes], look: Callable[[], bool]) -> None:
    """Poll a running command until it ends or `look` returns True.

    RAISES (SystemExit): If it failed.
    """
    while process.poll() is None:
        if look():
            return
        time.sleep(POLL_SECONDS)
    if process.returncode not in (0, REJECTED_EXIT):
        raise SystemExit(process.returncode)


def measure(corpus: Corpus, output: Path, *, workers: int) -> dict[str, Any]:
    """Run the command; returns its seconds, throughput and memory."""
    seen: dict[str, Memory] = {}

    def look() -> bool:
        read_memory(process.pid, done(output) / corpus.shards, seen)
        return False

    begun = time.perf_counter()
    process = start(corpus, output, workers=workers)
    watch(process, look)
    seconds = time.perf_counter() - begun
    return {
        "workers": workers,
        "seconds": seconds,
        "texts_per_second": corpus.texts / seconds,
        "texts_per_second_running": running_rate(output, workers=workers),
        "memory_mib": {name: memory.facts() for name, memory in seen.items()},
    }


def running_rate(output: Path, *, workers: int) -> float | None:
    """Texts per second while all workers are busy, without start and end.

    RETURNS (float | None): The slope of finished texts over time, without the first and
        last shards of the workers. None if there are too few shards.
    """
    shards = sorted((output / "shards").iterdir(), key=lambda p: p.stat().st_mtime)
    times = np.array([path.stat().st_mtime for path in shards])
    texts = np.cumsum([pq.read_metadata(path).num_rows for path in shards])
    inner = slice(workers - 1, len(shards) - workers + 1)
    if len(times[inner]) < 3:
        return None
    return float(np.polyfit(times[inner] - times[0], texts[inner], 1)[0])
