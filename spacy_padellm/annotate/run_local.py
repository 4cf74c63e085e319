"""Annotate on one machine, in this process or in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from spacy_padellm.annotate.files import AnnotateError, ShardError
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.worker import Job, annotate_shard, load_job
from spacy_padellm.errors import Errors

ATTEMPTS = 3  # per shard, if its worker dies
REPORT_SECONDS = 0.5
ROUNDING = 1e-6

ReportProgress = Callable[[int], None]
Failures = dict[int, str]


def run_here(job: Job, shards: Sequence[Shard], *, report: ReportProgress) -> Failures:
    """Annotate in this process.

    job (Job): The run.
    shards (Sequence[Shard]): The shards to annotate.
    report (Callable[[int], None]): Called with the number of texts done since the
        last call.
    RETURNS (dict[int, str]): Index of a failed shard -> error.
    RAISES (AnnotateError): If the run cannot continue.
    """
    nlp = load_job(job)
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
    report: ReportProgress,
) -> Failures:
    """Annotate in several processes. A process that dies is replaced, and its shard is
    annotated again. Arguments as in `run_here`, and:

    workers (int): The number of processes.
    gpus_per_worker (float): The number of GPUs per process; with 0 the pipeline chooses
        its device.
    """
    pool = _Pool(job, deque(shards), gpus_per_worker, report)
    for number in range(min(workers, len(shards))):
        pool.start(number)
    try:
        while pool.running:
            for connection in wait(list(pool.running)):
                pool.handle_message(connection)  # type: ignore[arg-type]
    finally:
        pool.kill()
    return pool.failures


@dataclass(slots=True)
class _Worker:
    """A process that annotates.

    process (SpawnProcess): The process.
    number (int): The number of the worker, which determines its GPUs.
    shard (Shard | None): The shard that it is annotating.
    texts (int): The number of texts of the shard that were reported.
    """

    process: SpawnProcess
    number: int
    shard: Shard | None = None
    texts: int = 0


class _Pool:
    """The running processes and the remaining shards."""

    def __init__(
        self,
        job: Job,
        todo: deque[Shard],
        gpus_per_worker: float,
        report: ReportProgress,
    ) -> None:
        self.running: dict[Connection, _Worker] = {}
        self.failures: Failures = {}
        self._job = job
        self._todo = todo
        self._gpus = gpus_per_worker
        self._report = report
        self._deaths: Counter[int | None] = Counter()

    def start(self, number: int) -> None:
        """Start a process."""
        # not forked, because threads and CUDA do not survive a fork
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        gpus = choose_gpus(number, self._gpus)
        process = context.Process(target=_worker_main, args=(there, self._job, gpus))
        process.daemon = True
        with _interrupts_blocked():
            process.start()
        # so that the connection ends when the process ends
        there.close()
        self.running[here] = _Worker(process, number)

    def handle_message(self, connection: Connection) -> None:
        """Receive a message and answer it.

        RAISES (AnnotateError): If the run cannot continue.
        """
        worker = self.running[connection]
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            self._handle_death(connection)
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
        with suppress(OSError):  # a dead process is handled at its next message
            connection.send(worker.shard)
        if worker.shard is None:
            worker.process.join()
            del self.running[connection]

    def _handle_death(self, connection: Connection) -> None:
        """Replace a dead process and retry its shard, up to `ATTEMPTS` times."""
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
            self.start(worker.number)

    def kill(self) -> None:
        """Kill the processes that are still running."""
        for worker in self.running.values():
            worker.process.kill()
            worker.process.join()


def died_message(shard: Shard) -> str:
    """The error of a shard whose workers died too often."""
    return Errors.P417.format(
        times=ATTEMPTS,
        path=shard.path,
        start=shard.row_range.start + 1,
        stop=shard.row_range.stop,
    )


def check_gpus(workers: int, gpus_per_worker: float) -> None:
    """Check that there are enough GPUs for the workers.

    workers (int): The number of workers.
    gpus_per_worker (float): The number of GPUs of each.
    RAISES (AnnotateError): If there are not.
    """
    found = torch.cuda.device_count() if gpus_per_worker else 0
    needed = workers * gpus_per_worker
    if 0 < gpus_per_worker < 1:
        needed = ceil(workers / _workers_per_gpu(gpus_per_worker))
    if needed > found:
        message = Errors.P418.format(
            workers=workers, each=f"{gpus_per_worker:g}", found=found
        )
        raise AnnotateError(message)


def choose_gpus(number: int, gpus_per_worker: float) -> list[str]:
    """Choose the GPUs of a worker, as names for CUDA_VISIBLE_DEVICES.

    number (int): The number of the worker, from 0.
    gpus_per_worker (float): The number of GPUs per worker; below 1, workers share a
        GPU; with 0 the result is empty.
    """
    if not gpus_per_worker:
        return []
    if gpus_per_worker < 1:
        first = number // _workers_per_gpu(gpus_per_worker)
    else:
        first = int(number * gpus_per_worker)
    numbers = range(first, first + max(1, int(gpus_per_worker)))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [visible.split(",")[n] if visible else str(n) for n in numbers]


def _workers_per_gpu(share: float) -> int:
    """How many workers a GPU holds, if each takes a share of it below 1."""
    # 1 / (1 - 0.9) is a little less than 10
    return int(1 / share + ROUNDING)


def _worker_main(connection: Connection, job: Job, gpus: list[str]) -> None:
    """Run a worker process: receive and annotate shards until there are none."""
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    try:
        nlp = load_job(job)
        _send(connection, ("ready", None))
        while (shard := _receive(connection)) is not None:
            answer: tuple[str, Any] = ("done", None)
            try:
                annotate_shard(nlp, job, shard, report=_reporter(connection))
            except ShardError as error:
                answer = ("failed", str(error))
            _send(connection, answer)
    except AnnotateError as error:
        _send(connection, ("stop", str(error)))
    except KeyboardInterrupt:
        return  # the command has ended; the current shard is complete or missing


def _send(connection: Connection, message: tuple[str, Any]) -> None:
    """Send a message; ends the process if the command has ended."""
    try:
        connection.send(message)
    except OSError:
        raise SystemExit(0) from None


def _receive(connection: Connection) -> Any:
    """Receive a message; ends the process if the command has ended."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        raise SystemExit(0) from None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from processes started here: the command gets it, and kills them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reporter(connection: Connection) -> ReportProgress:
    """Make a function that sends the number of texts done at most every 0.5 s."""
    unsent, sent_at = 0, time.monotonic()

    def report(texts: int) -> None:
        nonlocal unsent, sent_at
        unsent += texts
        if time.monotonic() - sent_at > REPORT_SECONDS:
            # the shard is finished even if the command has ended
            with suppress(OSError):
                connection.send(("texts", unsent))
            unsent, sent_at = 0, time.monotonic()

    return report
