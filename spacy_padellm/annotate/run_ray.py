"""Annotate on Ray Data; each worker is an actor with its own pipeline."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from spacy_padellm.annotate.files import AnnotateError, ShardError, open_fs
from spacy_padellm.annotate.output import (
    ATTEMPTS_FOLDER,
    list_names,
    remove,
    wrap_write_errors,
)
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.run_local import (
    ATTEMPTS,
    Failures,
    ReportProgress,
    check_gpus,
    died_message,
)
from spacy_padellm.annotate.worker import Job, annotate_shard, load_job
from spacy_padellm.errors import Errors

LOCAL = "local"
CONNECT_SECONDS = 10
MAX_BLOCKS = 10_000  # more would slow down the driver without benefit


class AnnotateShards:
    """The actor, which annotates shards by their indices."""

    def __init__(self, job: Job, shards: Sequence[Shard]) -> None:
        """Load the pipeline.

        job (Job): The run.
        shards (Sequence[Shard]): All shards of the run.
        """
        self._job = job
        self._shards = shards
        self._error = ""
        try:
            self._nlp = load_job(job)
        except AnnotateError as error:
            # if it were raised here, Ray would restart the actor forever
            self._error = str(error)

    def __call__(self, batch: pa.Table) -> Iterator[dict[str, list[Any]]]:
        """Annotate shards; `failed` is an error of the shard, `stop` of the run.

        batch (pa.Table): The indices of the shards to annotate.
        YIELDS (dict[str, list]): The texts that are done, and the errors.
        """
        for index in batch.column("item").to_pylist():
            failed, stop = "", self._error
            shard = self._shards[index]
            if not stop:
                try:
                    if count_attempt(self._job.output, shard) > ATTEMPTS:
                        raise ShardError(died_message(shard))
                    annotate_shard(self._nlp, self._job, shard)
                except ShardError as error:
                    failed = str(error)
                except AnnotateError as error:
                    stop = str(error)
            yield {"index": [index], "failed": [failed], "stop": [stop]}


def count_attempt(output: str, shard: Shard) -> int:
    """Record an attempt at a shard.

    Ray itself would retry forever if a shard's worker keeps dying.

    output (str): The output folder.
    shard (Shard): The shard.
    RETURNS (int): The number of attempts so far.
    """
    # a folder for each shard, so that listing it does not take longer with each shard
    folder = f"{output}/{ATTEMPTS_FOLDER}/part-{shard.index:06d}"
    fs, inside = open_fs(folder)
    with wrap_write_errors(folder):
        fs.makedirs(inside, exist_ok=True)
        fs.touch(f"{inside}/{uuid4().hex}")
        return len(list_names(folder))


def run_ray(
    job: Job,
    shards: Sequence[Shard],
    *,
    address: str,
    workers: int,
    gpus_per_worker: float,
    report: ReportProgress,
) -> Failures:
    """Annotate on a Ray cluster.

    job (Job): The run.
    shards (Sequence[Shard]): The shards to annotate.
    address (str): The address of the cluster, as for `ray.init`; "local" starts a
        cluster on this machine.
    workers (int): The number of actors.
    gpus_per_worker (float): The number of GPUs per actor.
    report (Callable[[int], None]): Called with the number of texts done since the
        last call.
    RETURNS (dict[int, str]): Index of a failed shard -> error.
    RAISES (AnnotateError): If the run cannot continue.
    """
    started: dict[str, Any] = {}
    if address == LOCAL:
        check_gpus(workers, gpus_per_worker)
        # Ray may have more workers than cores
        started = {"num_cpus": workers, "include_dashboard": False}
    try:
        check_address(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **started)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise AnnotateError(Errors.P421.format(error=error, address=address)) from error
    attempts = f"{job.output}/{ATTEMPTS_FOLDER}"
    try:
        # attempts of a driver that was killed do not count
        remove(attempts)
        failures = _run(job, shards, workers, gpus_per_worker, report)
        remove(attempts)
    except ray.exceptions.RayError as error:
        raise AnnotateError(Errors.P421.format(error=error, address=address)) from error
    finally:
        ray.shutdown()
    return failures


def check_address(address: str) -> None:
    """Check that a cluster accepts connections; Ray itself would try for minutes.

    address (str): The address, as for `ray.init`.
    RAISES (OSError): If it does not.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _run(
    job: Job,
    shards: Sequence[Shard],
    workers: int,
    gpus_per_worker: float,
    report: ReportProgress,
) -> Failures:
    # Ray's log would overwrite the progress bar
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    results = ray.data.from_items(
        list(range(len(shards))),
        override_num_blocks=min(len(shards), MAX_BLOCKS),
    ).map_batches(
        AnnotateShards,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_args=(job, list(shards)),
        compute=ActorPoolStrategy(size=min(workers, len(shards))),
        num_cpus=1,
        num_gpus=gpus_per_worker,
    )
    failures: Failures = {}
    for result in results.iter_rows():
        if result["stop"]:
            raise AnnotateError(result["stop"])
        shard = shards[result["index"]]
        if result["failed"]:
            failures[shard.index] = result["failed"]
        report(shard.rows)
    return failures
