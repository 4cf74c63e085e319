"""Whether `annotate` loses rows when it is killed, its disk is full, and the like.

Each round lets one fault happen at a random time, then runs the same command again, and
compares the rows one by one with those of an undisturbed run.

    python -m benchmarks.faults bundled-en --rounds 100 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from wasabi import msg

WORDS = ("Anna", "Smith", "met", "Bob", "in", "Paris", ".", "Acme", "hired", "London")
SHARDS = 12
POLL_SECONDS = 0.01
GOOD, FAILED = 0, 1


@dataclass(slots=True)
class Bench:
    """The corpus, and what an undisturbed run made of it.

    pipeline (str): The pipeline's folder, package or bundled name.
    folder (Path): The folder of the inputs and outputs.
    texts (int): The number of texts.
    chance (random.Random): Chooses the times.
    seconds (float): How long the undisturbed run took.
    largest (int): The size of its largest shard, in bytes.
    rows (dict[str, list[Any]]): Its rows, by the name of the input.
    """

    pipeline: str
    folder: Path
    texts: int
    chance: random.Random
    seconds: float = 0
    largest: int = 0
    rows: dict[str, list[Any]] = field(default_factory=dict)

    def start(
        self, output: Path, *, name: str = "one", workers: int = 1, limit: int = -1
    ) -> subprocess.Popen[str]:
        """Start the command; no file may become larger than the limit, in bytes."""
        command = [sys.executable, "-m", "spacy", "padellm", "annotate", self.pipeline]
        command += [str(self.folder / f"{name}.jsonl"), "--output", str(output)]
        command += ["--shard-size", str(-(-self.texts // SHARDS))]
        command += ["--keep-columns", "id", "--workers", str(workers)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if limit >= 0:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        return process

    def wait_a_while(self, output: Path, process: subprocess.Popen[str]) -> None:
        """Wait for the run to begin, and then for a random part of its time."""
        while not (output / "manifest.json").exists() and process.poll() is None:
            time.sleep(POLL_SECONDS)
        time.sleep(self.chance.random() * self.seconds)


@dataclass(slots=True)
class Result:
    """What a round showed.

    fault (str): The fault.
    codes (list[int]): The exit codes, in the order of the processes.
    said (str): What the disturbed run said.
    lost (int), doubled (int), wrong (int): Rows that are missing, that are there more
        than once, and that differ.
    wrong_codes (int): Exit codes that do not fit what happened.
    """

    fault: str
    codes: list[int]
    said: str = ""
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    wrong_codes: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        chance = random.Random(options.seed)
        bench = Bench(options.pipeline, Path(temporary), options.texts, chance)
        run_undisturbed(bench)
        results = []
        for number in range(options.rounds):
            fault = FAULTS[number % len(FAULTS)]
            results.append(fault(bench, bench.folder / f"out-{number}"))
            print(results[-1], flush=True)
    summary = summarize(results)
    msg.table(summary, header=("figure", "count"))
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")


def summarize(results: list[Result]) -> dict[str, int]:
    """Add the figures of all rounds."""
    kinds = Counter(f"rounds: {result.fault}" for result in results)
    names = ("lost", "doubled", "wrong", "wrong_codes")
    sums = {name: sum(getattr(result, name) for result in results) for name in names}
    return {"rounds": len(results), **kinds, **sums}


def run_undisturbed(bench: Bench) -> None:
    """Write two inputs, and annotate them without a fault.

    RAISES (SystemExit): If that fails.
    """
    for name in ("one", "two"):
        lines = []
        for number in range(bench.texts):
            text = " ".join(bench.chance.choices(WORDS, k=20))
            lines.append(json.dumps({"id": f"{name}-{number}", "text": text}) + "\n")
        (bench.folder / f"{name}.jsonl").write_text("".join(lines))
        output = bench.folder / name
        process = bench.start(output, name=name)
        begun = 0.0
        while process.poll() is None:
            begun = begun or ((output / "manifest.json").exists() and time.time()) or 0
            time.sleep(POLL_SECONDS)
        bench.seconds = time.time() - begun
        if process.returncode != GOOD:
            raise SystemExit(process.communicate()[0])
        bench.rows[name] = read_rows(output)
        bench.largest = max(p.stat().st_size for p in (output / "shards").iterdir())


def read_rows(output: Path) -> list[Any]:
    """Read the rows of an output, in order."""
    paths = sorted((output / "shards").glob("part-*"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; returns its exit code and its words."""
    words = process.communicate()[0]
    return process.returncode, " ".join(words.split())


def compare(bench: Bench, output: Path, result: Result, *, name: str) -> Result:
    """Count the rows that are not those of the undisturbed run."""
    wanted = {row["id"]: row for row in bench.rows[name]}
    found = read_rows(output)
    times = Counter(row["id"] for row in found)
    result.lost = len(wanted.keys() - times.keys())
    result.doubled = sum(count - 1 for count in times.values())
    result.wrong = sum(row != wanted.get(row["id"]) for row in found)
    shutil.rmtree(output)
    return result


def run_again(
    bench: Bench, output: Path, fault: str, first: tuple[int, str], *, good: set[int]
) -> Result:
    """Run the command again, to its end, and compare."""
    code, said = end(bench.start(output))
    wrong_codes = (first[0] not in good) + (code != GOOD)
    words = first[1] if code == GOOD else said
    result = Result(fault, [first[0], code], words[-200:], wrong_codes=wrong_codes)
    return compare(bench, output, result, name="one")


def killed(number: signal.Signals) -> Callable[[Bench, Path], Result]:
    """A fault: the command gets a signal."""

    def play(bench: Bench, output: Path) -> Result:
        process = bench.start(output, workers=bench.chance.choice((1, 2)))
        bench.wait_a_while(output, process)
        process.send_signal(number)
        process.wait()
        # workers may still hold the command's end of the pipe
        first = process.returncode, ""
        return run_again(bench, output, number.name, first, good={-number, GOOD})

    return play


def full_disk(bench: Bench, output: Path) -> Result:
    """A fault: there is no room for a shard."""
    process = bench.start(output, limit=bench.chance.randrange(bench.largest))
    return run_again(bench, output, "full disk", end(process), good={FAILED})


def changed_input(replace: bool) -> Callable[[Bench, Path], Result]:
    """A fault: the input is replaced, or grows; it is put back for the second run."""

    def play(bench: Bench, output: Path) -> Result:
        source, kept = bench.folder / "one.jsonl", bench.folder / "kept.jsonl"
        process = bench.start(output, workers=bench.chance.choice((1, 2)))
        shutil.copy2(source, kept)
        bench.wait_a_while(output, process)
        if replace:
            shutil.copy(bench.folder / "two.jsonl", bench.folder / "new.jsonl")
            os.replace(bench.folder / "new.jsonl", source)
        else:
            with source.open("a") as file:
                file.write('{"id": "more", "text": "Bob"}\n' * 5)
        ended = process.poll() is not None
        first = end(process)
        os.replace(kept, source)
        fault = "replaced input" if replace else "grown input"
        good = {GOOD} if ended else {FAILED, GOOD}
        if first[0] == GOOD:
            # the run says that it is whole, and was before the change
            result = compare(bench, output, Result(fault, [GOOD]), name="one")
            result.wrong_codes = int(bool(result.lost or result.wrong))
            return result
        return run_again(bench, output, fault, first, good=good)

    return play


def two_runs(same: bool) -> Callable[[Bench, Path], Result]:
    """A fault: two runs on one output folder, of one input or of two."""

    def play(bench: Bench, output: Path) -> Result:
        first = bench.start(output)
        time.sleep(bench.chance.random() * 2)
        second = bench.start(output, name="one" if same else "two")
        ends = {"one": end(first), "two": end(second)}
        codes = [code for code, _ in ends.values()]
        said = " ".join(words for code, words in ends.values() if code != GOOD)
        fault = "two runs, same" if same else "two runs"
        result = Result(fault, codes, said[-200:])
        # runs of one input may follow each other
        possible = [[GOOD, FAILED], [FAILED, GOOD], *([[GOOD, GOOD]] if same else [])]
        result.wrong_codes = int(codes not in possible)
        winner = "two" if codes[0] != GOOD and not same else "one"
        return compare(bench, output, result, name=winner)

    return play


FAULTS = (
    killed(signal.SIGKILL),
    killed(signal.SIGTERM),
    full_disk,
    changed_input(replace=True),
    changed_input(replace=False),
    two_runs(same=False),
    two_runs(same=True),
)

if __name__ == "__main__":
    main()
