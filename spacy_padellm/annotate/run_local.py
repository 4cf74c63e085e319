"""Annotating on one machine: in this process, or in several that it starts."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from spacy_padellm.annotate.files import AnnotateError, ShardError
from spacy_padellm.annotate.pipeline import load_checked
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.worker import Job, annotate_shard
from spacy_padellm.errors import Errors

ATTEMPTS = 3  # of a shard whose worker dies
REPORT_SECONDS = 0.5

Report = Callable[[int], None]
Failures = dict[int, str]


def run_here(job: Job, shards: Sequence[Shard], *, report: Report) -> Failures:
    """Annotate in this process.

    job (Job): The run.
    shards (Sequence[Shard]): What is to be done.
    report (Callable[[int], None]): Is told how many more texts were read.
    RETURNS (dict[int, str]): Why shards failed, by index.
    RAISES (AnnotateError): If the run cannot go on.
    """
    nlp = load_checked(job.pipeline)
    failures: Failures = {}
    for shard in shards:
        try:
            annotate_shard(nlp, job, shard, report=report)
        except ShardError as error:
            failures[shard.index] = str(error)
    return failures


def run_processes(
    job: Job,
    shards: Sequence[Shard],
    *,
    workers: int,
    gpus_per_worker: float,
    report: Report,
) -> Failures:
    """Annotate in several processes; one that dies is replaced, its shard done again.

    See `run_here`.

    workers (int): How many processes.
    gpus_per_worker (float): GPUs of each; 0 leaves it to the pipeline.
    """
    pool = _Pool(job, deque(shards), gpus_per_worker, report)
    for place in range(min(workers, len(shards))):
        pool.start(place)
    try:
        while pool.running:
            for connection in wait(list(pool.running)):
                pool.hear(connection)  # type: ignore[arg-type]
    finally:
        pool.kill()
    return pool.failures


@dataclass(slots=True)
class _Worker:
    """A process that annotates.

    process (SpawnProcess): The process.
    place (int): Its number, which says what GPUs it has.
    shard (Shard | None): What it is at.
    texts (int): How many texts of it were reported.
    """

    process: SpawnProcess
    place: int
    shard: Shard | None = None
    texts: int = 0


class _Pool:
    """The processes, and what they have to do."""

    def __init__(
        self, job: Job, todo: deque[Shard], gpus_per_worker: float, report: Report
    ) -> None:
        self.running: dict[Connection, _Worker] = {}
        self.failures: Failures = {}
        self._job = job
        self._todo = todo
        self._gpus = gpus_per_worker
        self._report = report
        self._deaths: Counter[int | None] = Counter()

    def start(self, place: int) -> None:
        """Start a process."""
        # not forked: a copy of threads and of CUDA does not work
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        gpus = choose_gpus(place, self._gpus)
        process = context.Process(target=_work, args=(there, self._job, gpus))
        process.daemon = True
        process.start()
        # so that the end of the process is the end of the connection
        there.close()
        self.running[here] = _Worker(process, place)

    def hear(self, connection: Connection) -> None:
        """Read a message and answer it.

        RAISES (AnnotateError): If the run cannot go on.
        """
        worker = self.running[connection]
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            self._bury(connection)
            return
        if kind == "stop":
            raise AnnotateError(content)
        if kind == "texts":
            worker.texts += content
            self._report(content)
            return
        if worker.shard is not None:
            self._report(worker.shard.rows - worker.texts)
            if kind == "failed":
                self.failures[worker.shard.index] = content
        worker.shard, worker.texts = self._todo.popleft() if self._todo else None, 0
        with suppress(OSError):  # if it is dead, the next message tells
            connection.send(worker.shard)
        if worker.shard is None:
            worker.process.join()
            del self.running[connection]

    def _bury(self, connection: Connection) -> None:
        """See to the shard of a dead process, and replace it."""
        worker = self.running.pop(connection)
        worker.process.join()
        self._report(-worker.texts)
        shard = worker.shard
        key = None if shard is None else shard.index
        self._deaths[key] += 1
        given_up = self._deaths[key] == ATTEMPTS
        if shard is None and given_up:
            code = worker.process.exitcode
            raise AnnotateError(Errors.P422.format(code=code, times=ATTEMPTS))
        if shard is not None and given_up:
            self.failures[shard.index] = died_message(shard)
            self._report(shard.rows)
        elif shard is not None:
            self._todo.appendleft(shard)
        if self._todo:
            self.start(worker.place)

    def kill(self) -> None:
        """End what is still running."""
        for worker in self.running.values():
            worker.process.kill()
            worker.process.join()


def died_message(shard: Shard) -> str:
    """Why a shard is given up."""
    return Errors.P417.format(
        times=ATTEMPTS, path=shard.path, start=shard.cut.start + 1, stop=shard.cut.stop
    )


def check_gpus(workers: int, gpus_per_worker: float) -> None:
    """Check that there are as many GPUs as the workers need.

    RAISES (AnnotateError): If there are not.
    """
    found = torch.cuda.device_count() if gpus_per_worker else 0
    if workers * gpus_per_worker > found:
        message = Errors.P418.format(
            workers=workers, each=f"{gpus_per_worker:g}", found=found
        )
        raise AnnotateError(message)


def choose_gpus(place: int, gpus_per_worker: float) -> list[str]:
    """The GPUs of a worker, by the names that CUDA_VISIBLE_DEVICES takes.

    place (int): The worker's number.
    gpus_per_worker (float): Under 1, workers share one; 0 chooses none.
    """
    if not gpus_per_worker:
        return []
    first = int(place * gpus_per_worker)
    numbers = range(first, first + max(1, int(gpus_per_worker)))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [visible.split(",")[n] if visible else str(n) for n in numbers]


def _work(connection: Connection, job: Job, gpus: list[str]) -> None:
    """The process: asks for a shard, annotates it, until there is none."""
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    answer: tuple[str, Any] = ("ready", None)
    try:
        nlp = load_checked(job.pipeline)
        connection.send(answer)
        for shard in iter(connection.recv, None):
            try:
                annotate_shard(nlp, job, shard, report=_reporter(connection))
                answer = ("done", None)
            except ShardError as error:
                answer = ("failed", str(error))
            connection.send(answer)
    except AnnotateError as error:
        with suppress(OSError):
            connection.send(("stop", str(error)))
    except (EOFError, OSError, KeyboardInterrupt):
        return  # the command has ended: the shard at hand is whole, or not there


def _reporter(connection: Connection) -> Report:
    """Send how many texts were read, now and then."""
    unsent, sent_at = 0, time.monotonic()

    def report(texts: int) -> None:
        nonlocal unsent, sent_at
        unsent += texts
        if time.monotonic() - sent_at > REPORT_SECONDS:
            # without a command the shard is finished all the same
            with suppress(OSError):
                connection.send(("texts", unsent))
            unsent, sent_at = 0, time.monotonic()

    return report
