"""`python -m spacy padellm annotate`."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from typing import Annotated, NoReturn

import typer
from wasabi import msg

from spacy_padellm.errors import Errors, Warnings

REJECTED_EXIT = 3
STOPPED_EXIT = 130  # as a shell reports Ctrl-C


class FileFormat(str, Enum):
    """The format of the output files."""

    parquet = "parquet"
    spacy = "spacy"


def annotate_cli(
    pipeline: Annotated[
        str,
        typer.Argument(
            help="Pipeline folder or package with a padellm_ner, or bundled-en"
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files, globs or folders, local or URLs: .parquet, .spacy, .jsonl, "
            ".txt (one text per line); the last two also as .gz, .bz2, .xz or .zst",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The output folder")
    ],
    text_column: Annotated[
        str, typer.Option(help="Parquet and JSON lines: column with the text")
    ] = "text",
    keep_columns: Annotated[
        str, typer.Option(help="Columns to copy to the output, e.g. id,url")
    ] = "",
    output_format: Annotated[
        FileFormat, typer.Option("--format", "-f", help="Output format")
    ] = FileFormat.parquet,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Maximum number of rows per output file")
    ] = 10_000,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            "-n",
            min=1,
            help="Number of processes; OMP_NUM_THREADS sets their threads, else 1",
        ),
    ] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="GPUs per worker; below 1, workers share a GPU")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run on the Ray cluster at this address; 'auto' finds a running "
            "cluster, 'local' starts one on this machine",
        ),
    ] = None,
) -> None:
    """Annotate the texts of files with entities.

    Writes one file per shard of the input to DIR/shards, in order: .spacy, or Parquet
    with one row per text (the kept columns, the text, and its entities and nested
    mentions with start and end in characters, label, text and score). To resume a
    stopped run, give the same command again; finished shards are kept. Records that
    cannot be annotated are listed in DIR/rejected.jsonl with the reason.

    Exit codes: 0 if everything was annotated, 3 if records were rejected, 1 if the run
    failed, 130 if it was stopped with Ctrl-C.
    """
    needed = {"pyarrow": "annotate"}
    if ray is not None:
        needed["ray"] = "ray"
    for package, extra in needed.items():
        if find_spec(package) is None:
            msg.fail(Errors.P400.format(package=package, extra=extra), exits=1)
    try:
        # imported here because spaCy imports this module for every command
        from spacy_padellm.annotate.files import AnnotateError
        from spacy_padellm.annotate.run import AnnotateSettings, run
    except KeyboardInterrupt:
        _stop(output)

    settings = AnnotateSettings(
        pipeline=pipeline,
        inputs=inputs,
        output=output,
        text_column=text_column,
        keep_columns=[name.strip() for name in keep_columns.split(",") if name.strip()],
        output_format=output_format.value,
        shard_size=shard_size,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        ray=ray,
    )
    try:
        outcome = run(settings)
    except AnnotateError as error:
        msg.fail(str(error), exits=1)
    except KeyboardInterrupt:
        _stop(output)
    shards = _number(outcome.shards, "shard")
    if outcome.done_before:
        msg.info(f"Done before: {outcome.done_before} of {shards}")
    msg.good(f"{_number(outcome.rows, 'row')} read, {shards}: {output}/shards")
    if outcome.rejected:
        records = _number(outcome.rejected, "record")
        msg.warn(f"{records} rejected: {output}/rejected.jsonl")
        raise typer.Exit(code=REJECTED_EXIT)


def _number(count: int, thing: str) -> str:
    """A number of things, such as "1 row" and "2 rows"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _stop(output: str) -> NoReturn:
    """Say how to go on after Ctrl-C."""
    msg.warn(Warnings.W404.format(output=output))
    raise typer.Exit(code=STOPPED_EXIT)
