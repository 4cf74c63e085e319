"""Annotating a generated corpus with `spacy padellm annotate`: rate and memory.

Short texts are put together from templates and words, and annotated with the bundled
model by 1 and by 2 workers of one thread each. The memory of the command and of its
workers is read while they run: its peak, and what it is early and late in the run, to
see whether it is flat.

    OMP_NUM_THREADS=1 python -m benchmarks.annotate --texts 200000 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import spacy
import torch
from wasabi import msg

TEMPLATES = (
    "{person} of {company} was in {place} on {day}.",
    "The talks between {place} and {place} ended on {day} without a result.",
    "{company} named {person} to lead its office in {place}.",
    "On {day} it rained, and nobody came.",
    "{person} beat {person} {number}-{number} in {place}.",
    "{company} said it would buy {company} for ${number} million.",
    "Nothing else was said about the {number} people of {place}.",
)
FIRST = "Anna Boris Carla David Elena Farid Grace Hiro Ines Jonas Kofi Marta Nils"
LAST = "Adler Brown Costa Duarte Eriksen Fischer Garcia Hansen Ito Jones Klein Lopez"
STEMS = "Nor Alt Vel Mar Ber Tal Kor Lun Dra Sil Win Har Os Pel Gra Fen Rom Cas"
ENDS = "ton burg stad ville port ford heim mouth field bridge"
KINDS = "Industries Bank Motors Foods Airlines Energy Media Holdings"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
POLL_SECONDS = 0.5
MIB = 1024  # KiB, which /proc counts in


class Words:
    """Gives a new word or name for each field of a template."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __getitem__(self, kind: str) -> str:
        pick = self.chance.choice
        if kind == "person":
            return f"{pick(FIRST.split())} {pick(LAST.split())}"
        if kind == "company":
            return f"{self['place']} {pick(KINDS.split())}"
        if kind == "place":
            return pick(STEMS.split()) + pick(ENDS.split())
        if kind == "day":
            return pick(DAYS.split())
        return str(self.chance.randrange(1000))


def make_texts(count: int, *, seed: int = 0) -> Iterator[str]:
    """Short texts, few of them alike."""
    words = Words(seed)
    for _ in range(count):
        # format_map asks for each field of its own
        yield words.chance.choice(TEMPLATES).format_map(words)


@dataclass(slots=True)
class Memory:
    """A process's memory over time, in MiB.

    peak (float): The most it had.
    samples (list[tuple[float, float]]): Seconds since the run's start, and memory.
    """

    peak: float = 0
    samples: list[tuple[float, float]] = field(default_factory=list)

    def at(self, seconds: float) -> float:
        """The memory at the first look after some time."""
        later = [memory for time, memory in self.samples if time >= seconds]
        return later[0] if later else self.samples[-1][1]


def read_status(folder: Path) -> dict[str, str]:
    """What the kernel says of a process; nothing if it has ended."""
    try:
        lines = (folder / "status").read_text("utf8").splitlines()
        command = (folder / "cmdline").read_bytes().decode()
    except OSError:
        return {}
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {**status, "command": command}


def read_memory(parent: int, seconds: float, seen: dict[str, Memory]) -> None:
    """Look at the memory of a command and of its workers."""
    for folder in Path("/proc").glob("[0-9]*"):
        status = read_status(folder)
        if "VmRSS" not in status:
            continue
        name = "command"
        if folder.name != str(parent):
            if status["PPid"] != str(parent) or "spawn_main" not in status["command"]:
                continue
            name = f"worker {folder.name}"
        memory = seen.setdefault(name, Memory())
        memory.peak = int(status["VmHWM"].split()[0]) / MIB
        memory.samples.append((seconds, int(status["VmRSS"].split()[0]) / MIB))


def measure(
    pipeline: Path, source: Path, output: Path, *, workers: int, options: Sequence[str]
) -> dict[str, Any]:
    """Run the command; its seconds, texts a second and memory."""
    command = [sys.executable, "-m", "spacy", "padellm", "annotate", str(pipeline)]
    command += [str(source), "--output", str(output), "--workers", str(workers)]
    seen: dict[str, Memory] = {}
    start = time.perf_counter()
    process = subprocess.Popen([*command, *options])
    while process.poll() is None:
        read_memory(process.pid, time.perf_counter() - start, seen)
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(process.returncode)
    shards = sorted((output / "shards").iterdir(), key=lambda p: p.stat().st_mtime)
    rows = [pq.read_metadata(path).num_rows for path in shards]
    times = [path.stat().st_mtime for path in shards]
    running = times[-1] - times[0]
    return {
        "workers": workers,
        "seconds": seconds,
        "texts_per_second": sum(rows) / seconds,
        # from the first finished shard on: without loading
        "texts_per_second_running": sum(rows[1:]) / running if running else None,
        "memory_mib": {
            name: {
                "peak": round(memory.peak),
                "after_a_quarter": round(memory.at(seconds / 4)),
                "at_the_end": round(memory.samples[-1][1]),
            }
            for name, memory in seen.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--shard-size", type=int, default=10_000)
    parser.add_argument("--workers", default="1,2", help="numbers to measure")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    options = ["--shard-size", str(args.shard_size), "--keep-columns", "id"]
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        nlp = spacy.blank("en")
        nlp.add_pipe("padellm_ner")
        nlp.to_disk(folder / "nlp")
        source = folder / "texts.jsonl"
        with source.open("w", encoding="utf8") as file:
            for number, text in enumerate(make_texts(args.texts)):
                file.write(json.dumps({"id": number, "text": text}) + "\n")
        for workers in map(int, args.workers.split(",")):
            output = folder / f"out-{workers}"
            results.append(
                measure(
                    folder / "nlp", source, output, workers=workers, options=options
                )
            )
    first = results[0]["texts_per_second"]
    rows = []
    for result in results:
        result["against_first"] = result["texts_per_second"] / first
        for name, memory in result["memory_mib"].items():
            figures = (f"{result['texts_per_second']:.1f}", *memory.values())
            factor = f"{result['against_first']:.2f}x"
            rows.append((result["workers"], factor, name, *figures))
    header = ("workers", "rate", "process", "texts/s", "peak MiB", "at 1/4", "at end")
    msg.table(rows, header=header, divider=True)
    if args.json:
        facts = {
            "texts": args.texts,
            "shard_size": args.shard_size,
            "threads_per_worker": os.environ.get("OMP_NUM_THREADS", "1"),
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "results": results,
        }
        args.json.write_text(json.dumps(facts, indent=2) + "\n", "utf8")


if __name__ == "__main__":
    main()
