"""`python -m spacy padellm annotate`."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.errors import Errors

REJECTED_EXIT = 3


class OutputFormat(str, Enum):
    """What the shards are written as."""

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
        str, typer.Option(help="Parquet and JSON lines: where the text is")
    ] = "text",
    keep_columns: Annotated[
        str, typer.Option(help="Columns to keep in the output: id,url")
    ] = "",
    output_format: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="What to write")
    ] = OutputFormat.parquet,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Most rows of a file of the output")
    ] = 10_000,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            "-n",
            min=1,
            help="Processes, each with OMP_NUM_THREADS or 1 thread",
        ),
    ] = 1,
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="GPUs of each worker; under 1 they share one")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use the Ray cluster at this address; 'auto' finds one, 'local' "
            "starts one here",
        ),
    ] = None,
) -> None:
    """Annotate the texts of files with their entities.

    DIR/shards gets a file for each shard of the input, in order: Parquet with the kept
    columns, the text and its entities (start and end in characters, label, text, score)
    a row, or .spacy. A run that was stopped goes on when the same command is given
    again; finished shards are kept. Records that cannot be annotated are listed in
    DIR/rejected.jsonl, with the reason.

    Exit code: 0 if all is annotated, 3 if records were rejected, 1 if the run failed.
    """
    needed = {"pyarrow": "annotate"}
    if ray is not None:
        needed["ray"] = "ray"
    for package, extra in needed.items():
        if find_spec(package) is None:
            msg.fail(Errors.P400.format(package=package, extra=extra), exits=1)
    # not above: the other commands need none of it
    from spacy_padellm.annotate.files import AnnotateError
    from spacy_padellm.annotate.run import AnnotateSettings, run

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
    if outcome.found_done:
        msg.info(f"Done before: {outcome.found_done} of {outcome.shards} shards")
    read = f"{outcome.rows} rows read, {outcome.shards} shards"
    msg.good(f"{read}: {output}/shards")
    if outcome.rejected:
        msg.warn(f"{outcome.rejected} records rejected: {output}/rejected.jsonl")
        raise typer.Exit(code=REJECTED_EXIT)
