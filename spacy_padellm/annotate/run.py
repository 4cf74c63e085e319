"""A run, from the inputs to the finished output folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from spacy_padellm.annotate.files import (
    AnnotateError,
    absolute_path,
    check_file_unchanged,
    find_inputs,
    is_inside,
)
from spacy_padellm.annotate.finished import find_unfinished, remove_shard
from spacy_padellm.annotate.lease import hold_lease
from spacy_padellm.annotate.manifest import Identity, hash_manifest, open_run
from spacy_padellm.annotate.output import (
    ATTEMPTS_FOLDER,
    SHARDS,
    UNFINISHED,
    check_name,
    join_rejected,
    remove,
    shard_path,
    wrap_write_errors,
)
from spacy_padellm.annotate.pipeline import find_pipeline, fingerprint
from spacy_padellm.annotate.plan import Plan, Shard, make_plan
from spacy_padellm.annotate.run_local import (
    Failures,
    check_gpus,
    run_here,
    run_processes,
)
from spacy_padellm.annotate.worker import Job
from spacy_padellm.annotate.writers import WRITERS
from spacy_padellm.errors import Errors, Warnings, logger
from spacy_padellm.progress import progress

# enough shards per worker that waiting for the last one takes little time
SHARDS_PER_WORKER = 8
MIN_SHARD_SIZE = 10  # texts; with fewer, starting the workers takes most of the time


@dataclass(frozen=True, slots=True)
class AnnotateSettings:
    """The settings of a run.

    pipeline (str): A folder, a package or a bundled model.
    inputs (Sequence[str]): Files, globs and folders.
    output (str): The output folder.
    text_column (str): The column with the text.
    keep_columns (Sequence[str]): The columns to keep.
    output_format (str): "parquet" or "spacy".
    shard_size (int): The maximum number of rows per shard.
    workers (int): The number of workers.
    gpus_per_worker (float): The number of GPUs per worker.
    ray (str | None): The address of a Ray cluster, "local", or None for no Ray.
    """

    pipeline: str
    inputs: Sequence[str]
    output: str
    text_column: str
    keep_columns: Sequence[str]
    output_format: str
    shard_size: int
    workers: int
    gpus_per_worker: float
    ray: str | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The result of a run.

    rows (int): The number of rows in all shards.
    shards (int): The number of shards.
    done_before (int): The number of shards that an earlier run had finished.
    rejected (int): The number of bad records.
    """

    rows: int
    shards: int
    done_before: int
    rejected: int


def run(settings: AnnotateSettings) -> RunSummary:
    """Annotate all shards that are not finished yet.

    settings (AnnotateSettings): The settings.
    RETURNS (RunSummary): What was done.
    RAISES (AnnotateError): If the run cannot start or continue, or shards failed.
    """
    pipeline, folder = find_pipeline(settings.pipeline)
    check_name(settings.output)
    output = absolute_path(settings.output)
    if is_inside(output, folder):
        message = Errors.P781.format(output=output, pipeline=folder)
        raise AnnotateError(message)
    inputs = find_inputs(settings.inputs, output=output)
    identity = Identity(
        pipeline=fingerprint(folder),
        text_column=settings.text_column,
        keep_columns=tuple(settings.keep_columns),
        format=settings.output_format,
        added_columns=WRITERS[settings.output_format].added_columns,
        shard_size=settings.shard_size,
        inputs=tuple(inputs),
    )

    with hold_lease(output) as lease:
        return _run(settings, identity, pipeline=pipeline, output=output, lease=lease)


def _run(
    settings: AnnotateSettings,
    identity: Identity,
    *,
    pipeline: str,
    output: str,
    lease: str,
) -> RunSummary:
    """Annotate while the output folder is this run's alone.

    RAISES (AnnotateError): See `run`.
    """

    def make_new_plan() -> Plan:
        plan = make_plan(
            identity.inputs,
            text_column=settings.text_column,
            keep=settings.keep_columns,
            shard_size=settings.shard_size,
        )
        WRITERS[settings.output_format].check(plan.columns)
        return plan

    plan = open_run(output, identity, make_new_plan)
    manifest = hash_manifest(output)
    todo = _find_todo(output, plan, settings.output_format)
    job = Job(
        pipeline=pipeline,
        fingerprint=identity.pipeline,
        output=output,
        lease=lease,
        manifest=manifest,
        output_format=settings.output_format,
        text_column=settings.text_column,
        columns=plan.columns,
    )
    failures: Failures = {}
    if todo:
        _warn_of_idle_workers(plan, settings)
        failures = _annotate(job, plan, todo, settings)
    finished = [shard for shard in plan.shards if shard.index not in failures]
    _check_finished(output, finished, settings.output_format)
    rejected = join_rejected(output, finished)
    _check_no_failures(failures, total=len(plan.shards))
    for file in identity.inputs:
        check_file_unchanged(file)
    # files that killed processes left behind, and a run on Ray that stopped
    for folder in (UNFINISHED, ATTEMPTS_FOLDER):
        remove(f"{output}/{folder}")
    return RunSummary(
        rows=sum(shard.rows for shard in plan.shards),
        shards=len(plan.shards),
        done_before=len(plan.shards) - len(todo),
        rejected=rejected,
    )


def _find_todo(output: str, plan: Plan, output_format: str) -> list[Shard]:
    """List the shards to annotate; damaged files of finished ones are removed."""
    with wrap_write_errors(f"{output}/{SHARDS}"):
        found = find_unfinished(output, plan.shards, output_format, read=True)
    missing, damaged = found
    if damaged:
        first = shard_path(output, damaged[0], output_format)
        logger.warning(Warnings.W403.format(damaged=len(damaged), first=first))
    for shard in damaged:
        remove_shard(output, shard, output_format)
    return sorted([*missing, *damaged], key=lambda shard: shard.index)


def _check_finished(output: str, shards: Sequence[Shard], output_format: str) -> None:
    """Check that the files of finished shards are there.

    RAISES (AnnotateError): If they were deleted or cut off while the run went on.
    """
    with wrap_write_errors(f"{output}/{SHARDS}"):
        found = find_unfinished(output, shards, output_format, read=False)
    lost = [*found[0], *found[1]]
    if lost:
        first = shard_path(output, lost[0], output_format)
        raise AnnotateError(Errors.P429.format(lost=len(lost), first=first))


def _check_no_failures(failures: Failures, *, total: int) -> None:
    """Check that all shards are done.

    RAISES (AnnotateError): If some of them failed.
    """
    if failures:
        first = failures[min(failures)].rstrip(".")
        message = Errors.P416.format(failed=len(failures), total=total, first=first)
        raise AnnotateError(message)


def _warn_of_idle_workers(plan: Plan, settings: AnnotateSettings) -> None:
    """Warn if there are too few shards to keep all workers busy until the end."""
    shards, workers = len(plan.shards), settings.workers
    rows = sum(shard.rows for shard in plan.shards)
    size = ceil(rows / (workers * SHARDS_PER_WORKER))
    few = shards < workers * SHARDS_PER_WORKER // 2
    if workers > 1 and few and size >= MIN_SHARD_SIZE:
        logger.warning(Warnings.W402.format(shards=shards, workers=workers, size=size))


def _annotate(
    job: Job, plan: Plan, todo: Sequence[Shard], settings: AnnotateSettings
) -> Failures:
    total = sum(shard.rows for shard in plan.shards)
    left = sum(shard.rows for shard in todo)
    workers, gpus = settings.workers, settings.gpus_per_worker
    with progress(total, total - left) as report:
        if settings.ray is not None:
            from spacy_padellm.annotate.run_ray import run_ray

            return run_ray(
                job,
                todo,
                address=settings.ray,
                workers=workers,
                gpus_per_worker=gpus,
                report=report,
            )
        check_gpus(workers, gpus)
        if workers == 1:
            return run_here(job, todo, report=report)
        return run_processes(
            job, todo, workers=workers, gpus_per_worker=gpus, report=report
        )
