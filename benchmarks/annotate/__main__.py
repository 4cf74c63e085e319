"""Throughput and memory of `spacy padellm annotate` on a generated corpus.

Short texts are generated from templates, and annotated with the bundled model by 1 and
by 2 workers of one thread each. The memory of the command and its workers is sampled,
to see whether it grows. As a control, plain `nlp.pipe` is run in 1 and in 2 independent
processes.

    OMP_NUM_THREADS=1 python -m benchmarks.annotate --texts 200000 --json OUT.json

With `--kill`, a worker and then the command are killed during a run. The command is run
again, and its output is compared with that of an undisturbed run.

    OMP_NUM_THREADS=1 python -m benchmarks.annotate --kill --texts 8000 --shard-size 200
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from wasabi import msg

from benchmarks.annotate.command import Corpus, measure
from benchmarks.annotate.control import plain_rate
from benchmarks.annotate.corpus import write_corpus, write_pipeline
from benchmarks.annotate.killing import kill_and_compare
from spacy_padellm.benchmark.machine import machine_facts

BAD_EVERY = 500  # one of this number of texts is bad, with --kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--shard-size", type=int, default=10_000)
    parser.add_argument("--workers", default="1,2", help="numbers of workers")
    parser.add_argument(
        "--control-texts", type=int, default=4000, help="0 leaves out the control"
    )
    parser.add_argument("--kill", action="store_true", help="compare a killed run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    numbers = [int(number) for number in args.workers.split(",")]
    facts: dict[str, Any] = {
        "texts": args.texts,
        "shard_size": args.shard_size,
        "threads_per_worker": os.environ.get("OMP_NUM_THREADS", "1"),
        **machine_facts(torch.device("cpu")),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = Corpus(
            folder / "nlp", folder / "texts.jsonl", args.texts, args.shard_size
        )
        write_pipeline(corpus.pipeline)
        write_corpus(
            corpus.source, corpus.texts, bad_every=BAD_EVERY if args.kill else 0
        )
        if args.kill:
            facts["killed"] = kill_and_compare(corpus, folder, workers=max(numbers))
        else:
            facts["control"] = {
                number: plain_rate(
                    corpus,
                    processes=number,
                    texts=min(args.control_texts, args.texts),
                )
                for number in numbers
                if args.control_texts
            }
            facts["results"] = [
                measure(corpus, folder / f"out-{number}", workers=number)
                for number in numbers
            ]
    if args.json:
        args.json.write_text(json.dumps(facts, indent=2) + "\n", "utf8")
    if args.kill:
        show_killed(facts["killed"])
    else:
        show_rates(facts["results"], facts["control"])
        show_memory(facts["results"])


def show_rates(results: list[dict[str, Any]], control: dict[int, float]) -> None:
    """Print a row for each number of workers."""
    first = results[0]
    rows = []
    for result in results:
        row = [result["workers"], f"{result['seconds']:.1f}"]
        for key in ("texts_per_second", "texts_per_second_running"):
            row += with_factor(result[key], first[key])
        plain = control.get(result["workers"])
        rows.append((*row, *with_factor(plain, control.get(first["workers"]))))
    msg.table(
        rows,
        header=("workers", "s", "texts/s", "x", "running", "x", "plain pipes", "x"),
        divider=True,
    )
    msg.text(
        "texts/s: of the complete command, including start and loading; running: while "
        "all workers are busy; plain pipes: nlp.pipe in as many independent processes, "
        "without loading"
    )


def with_factor(rate: float | None, first: float | None) -> tuple[str, str]:
    """A rate, and its ratio to the first one."""
    if rate is None or first is None:
        return "-", "-"
    return f"{rate:.1f}", f"{rate / first:.2f}"


def show_memory(results: list[dict[str, Any]]) -> None:
    """Print a row for each process."""
    rows = []
    for result in results:
        for name, memory in result["memory_mib"].items():
            quarters = ["-" if q is None else q for q in memory["quarters"]]
            growth = memory["growth"]
            grown = "-" if growth is None else f"{growth:+.1%}"
            rows.append((result["workers"], name, memory["peak"], *quarters, grown))
    msg.table(
        rows,
        header=("workers", "process", "peak MiB", "1/4", "2/4", "3/4", "4/4", "growth"),
        divider=True,
    )
    msg.text(
        "1/4 to 4/4: peak in each quarter of the shards; growth: last quarter compared "
        "with the first, whose start (a tenth of the run) is left out as warm-up"
    )


def show_killed(killed: dict[str, Any]) -> None:
    """Print when processes were killed, and whether the outputs are equal.

    RAISES (SystemExit): If they are not.
    """
    msg.text(
        f"Of {killed['shards']} shards {killed['done_when_worker_was_killed']} were "
        f"done when a worker was killed, {killed['done_when_command_was_killed']} when "
        "the command was"
    )
    if not killed["equal"]:
        msg.fail("The output differs from that of an undisturbed run", exits=1)
    msg.good(f"All {killed['files']} files are equal to those of an undisturbed run")


if __name__ == "__main__":
    main()
