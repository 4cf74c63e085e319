"""Compares a disturbed run with an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.annotate.command import Corpus, done, start, watch
from benchmarks.annotate.memory import workers_of


def kill_and_compare(corpus: Corpus, folder: Path, *, workers: int) -> dict[str, Any]:
    """Kill a worker and then the command, run it again, and compare the outputs.

    corpus (Corpus): The corpus.
    folder (Path): The folder of the outputs.
    workers (int): Number of workers, at least 2.
    RETURNS (dict[str, Any]): How many shards were finished at each kill, how many there
        are, and whether all files are equal.
    RAISES (SystemExit): If the command fails, or ends before it is killed.
    """
    calm, killed = folder / "calm", folder / "killed"
    watch(start(corpus, calm, workers=workers), lambda: False)
    process = start(corpus, killed, workers=workers)
    _wait(process, killed, corpus.shards // 4)
    victim, _ = next(workers_of(process.pid))
    os.kill(victim, signal.SIGKILL)
    at_worker = done(killed)
    _wait(process, killed, corpus.shards // 2)
    process.kill()
    process.wait()
    at_command = done(killed)
    watch(start(corpus, killed, workers=workers), lambda: False)
    return {
        "shards": corpus.shards,
        "done_when_worker_was_killed": at_worker,
        "done_when_command_was_killed": at_command,
        "files": len(contents(calm)),
        "equal": contents(calm) == contents(killed),
    }


def _wait(process: subprocess.Popen[bytes], output: Path, shards: int) -> None:
    """Wait until a number of shards is finished and the command is still running."""
    watch(process, lambda: done(output) >= max(shards, 1))
    if process.poll() is not None:
        raise SystemExit("The command ended before it could be killed: give more texts")


def contents(output: Path) -> dict[str, bytes]:
    """The contents of all files of a finished run."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }
