"""Helpers for the tests of annotating: the command, its inputs and outputs."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from helpers import GOLD
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli

TEXTS = list(GOLD)
WAIT_SECONDS = 240  # before a test gives up; the machine may be busy


def annotate(*arguments: object) -> tuple[int, str]:
    """Run the command in this process; returns its exit code and output."""
    result = CliRunner().invoke(padellm_cli, ["annotate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def fails(*arguments: object, saying: str) -> None:
    """Check that the command fails with this message."""
    code, words = annotate(*arguments)
    assert code == 1, words
    assert saying in words


def some_texts(count: int) -> list[str]:
    return [TEXTS[place % len(TEXTS)] for place in range(count)]


def write_jsonl(path: Path, texts: Iterable[object]) -> Path:
    """Write a file of objects with the columns id and text."""
    rows = [{"id": number, "text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    return path


def write_parquet(path: Path, texts: Sequence[object], **columns: Any) -> Path:
    ids = list(range(len(texts)))
    table = pa.table({"id": ids, "text": texts, **columns})
    pq.write_table(table, path, row_group_size=3)
    return path


def compressed(data: bytes, suffix: str) -> bytes:
    """Compress data for a file with this suffix; others are not compressed."""
    if suffix.endswith(".gz"):
        return gzip.compress(data)
    if suffix.endswith(".bz2"):
        return bz2.compress(data)
    if suffix.endswith(".xz"):
        return lzma.compress(data)
    if suffix.endswith(".zst"):
        return bytes(pa.compress(data, codec="zstd", asbytes=True))
    return data


def rows(output: Path) -> list[dict[str, Any]]:
    """Read all rows of the output, in order."""
    return pq.read_table(output / "shards").to_pylist()


def rejected(output: Path) -> list[dict[str, Any]]:
    path = output / "rejected.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf8").splitlines()]


def shards(output: Path) -> list[Path]:
    return sorted((output / "shards").glob("part-*"))


def contents(output: Path) -> dict[str, bytes]:
    """Read the bytes of the shards and the bad records."""
    files = [*shards(output), *output.glob("rejected.jsonl")]
    return {path.name: path.read_bytes() for path in files}


# Processes


def start(
    *arguments: object, group: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """Start the command in a new process, or in a group of processes of its own."""
    command = [sys.executable, "-m", "spacy", "padellm", "annotate"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=group,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; returns its exit code and output."""
    try:
        output, _ = process.communicate(timeout=WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return process.returncode, " ".join(output.split())


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT_SECONDS)


def wait_for(ready: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait until a condition is true while a process runs; returns its value."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if found := ready():
            return found
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    kill(process)
    raise TimeoutError


def processes_with(word: str, *, environment: str = "") -> list[int]:
    """Find processes by a word in the command line and one in the environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode()
            variables = (folder / "environ").read_bytes().decode()
        except OSError:
            continue
        if word in command and environment in variables:
            found.append(int(folder.name))
    return found


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Find the worker processes of a command."""
    found = []
    for pid in processes_with("spawn_main"):
        try:
            status = Path(f"/proc/{pid}/status").read_text("utf8")
        except OSError:
            continue
        if f"PPid:\t{process.pid}\n" in status:
            found.append(pid)
    return found
