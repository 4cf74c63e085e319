"""Whether `annotate` loses rows when it is killed, its disk is full, and the like.

Each round lets one fault happen at a random time, then runs the same command again, and
compares the rows one by one with those of an undisturbed run.

    python -m benchmarks.faults bundled-en --rounds 100 --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from wasabi import msg

WORDS = ("Anna", "Smith", "met", "Bob", "in", "Paris", ".", "Acme", "hired", "London")
SHARDS = 12
POLL_SECONDS = 0.01
GOOD, FAILED = 0, 1
# imported once, by the process that the commands are forked from
PRELOADED = ["spacy_padellm.annotate.run_local", "spacy_padellm.pipeline.bundled"]

Ended = tuple[int, str]  # the exit code, and what was said


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was started.

    process (ForkServerProcess): Its process.
    output (Connection): The end of the pipe that it writes to.
    """

    process: ForkServerProcess
    output: Connection

    @property
    def is_running(self) -> bool:
        return self.process.exitcode is None

    def kill(self, number: signal.Signals) -> Ended:
        """Send a signal, and wait for the end."""
        os.kill(self.process.pid or 0, number)
        self.process.join()
        # workers may still hold their end of the pipe
        return self.process.exitcode or 0, ""

    def wait(self) -> Ended:
        """Wait for the end."""
        words = bytearray()
        while piece := os.read(self.output.fileno(), 1 << 16):
            words += piece
        self.process.join()
        return self.process.exitcode or 0, " ".join(words.decode().split())


def play_command(arguments: Sequence[str], output: Connection, limit: int) -> None:
    """Run the command in this process; see `Bench.start`."""
    from spacy_padellm.cli.app import padellm_cli

    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    if limit >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    padellm_cli(arguments)


@dataclass(slots=True)
class Bench:
    """The corpus, and what an undisturbed run made of it.

    pipeline (str): The pipeline's folder, package or bundled name.
    folder (Path): The folder of the inputs and outputs.
    texts (int): The number of texts.
    chance (random.Random): Chooses the times.
    seconds (float): How long the undisturbed run took.
    largest (int): The size of the largest shard of the first input, in bytes.
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
    ) -> Command:
        """Start the command; no file may become larger than the limit, in bytes."""
        arguments = ["annotate", self.pipeline, str(self.folder / f"{name}.jsonl")]
        arguments += ["--output", str(output), "--workers", str(workers)]
        arguments += ["--shard-size", str(-(-self.texts // SHARDS))]
        arguments += ["--keep-columns", "id"]
        context = multiprocessing.get_context("forkserver")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=play_command, args=(arguments, there, limit))
        process.start()
        there.close()
        return Command(process, here)

    def wait_a_while(self, output: Path, command: Command) -> None:
        """Wait for the run to begin, and then for a random part of its time."""
        while not (output / "manifest.json").exists() and command.is_running:
            time.sleep(POLL_SECONDS)
        time.sleep(self.chance.random() * self.seconds)

    def some_workers(self) -> int:
        """One or two; two are rare, as each of them imports everything anew."""
        return self.chance.choice((1, 1, 1, 1, 1, 2))


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
    multiprocessing.set_forkserver_preload(PRELOADED)
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
        command = bench.start(output, name=name)
        begun = 0.0
        while command.is_running:
            begun = begun or ((output / "manifest.json").exists() and time.time()) or 0
            time.sleep(POLL_SECONDS)
        bench.seconds = time.time() - begun
        code, said = command.wait()
        if code != GOOD:
            raise SystemExit(said)
        bench.rows[name] = read_rows(output)
        if name == "one":
            shards = (output / "shards").iterdir()
            bench.largest = max(path.stat().st_size for path in shards)


def read_rows(output: Path) -> list[Any]:
    """Read the rows of an output, in order."""
    paths = sorted((output / "shards").glob("part-*"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def compare(bench: Bench, output: Path, result: Result, *, name: str) -> Result:
    """Count the rows that are not those of the undisturbed run."""
    undisturbed = {row["id"]: row for row in bench.rows[name]}
    found = read_rows(output)
    times = Counter(row["id"] for row in found)
    result.lost = len(undisturbed.keys() - times.keys())
    result.doubled = sum(count - 1 for count in times.values())
    result.wrong = sum(row != undisturbed.get(row["id"]) for row in found)
    shutil.rmtree(output)
    return result


def run_again(
    bench: Bench, output: Path, fault: str, first: Ended, *, good: set[int]
) -> Result:
    """Run the command again, to its end, and compare."""
    code, said = bench.start(output).wait()
    wrong_codes = (first[0] not in good) + (code != GOOD)
    words = first[1] if code == GOOD else said
    result = Result(fault, [first[0], code], words[-200:], wrong_codes=wrong_codes)
    return compare(bench, output, result, name="one")


def killed(number: signal.Signals) -> Callable[[Bench, Path], Result]:
    """A fault: the command gets a signal."""

    def play(bench: Bench, output: Path) -> Result:
        command = bench.start(output, workers=bench.some_workers())
        bench.wait_a_while(output, command)
        # it may have ended
        first = command.kill(number) if command.is_running else command.wait()
        return run_again(bench, output, number.name, first, good={-number, GOOD})

    return play


def full_disk(bench: Bench, output: Path) -> Result:
    """A fault: there is no room for a shard."""
    command = bench.start(output, limit=bench.chance.randrange(bench.largest))
    return run_again(bench, output, "full disk", command.wait(), good={FAILED})


def changed_input(replace: bool) -> Callable[[Bench, Path], Result]:
    """A fault: the input is replaced, or grows; it is put back for the second run."""

    def play(bench: Bench, output: Path) -> Result:
        source, kept = bench.folder / "one.jsonl", bench.folder / "kept.jsonl"
        shutil.copy2(source, kept)
        command = bench.start(output, workers=bench.some_workers())
        bench.wait_a_while(output, command)
        if replace:
            shutil.copy(bench.folder / "two.jsonl", bench.folder / "new.jsonl")
            os.replace(bench.folder / "new.jsonl", source)
        else:
            with source.open("a") as file:
                file.write('{"id": "more", "text": "Bob"}\n' * 5)
        ended = not command.is_running
        first = command.wait()
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
        ends = {"one": first.wait(), "two": second.wait()}
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
