"""The commands `python -m spacy padellm ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from spacy.cli import app
from wasabi import msg

from spacy_padellm.analysis.command import analyze_cli
from spacy_padellm.analysis.tune_command import tune_cli
from spacy_padellm.annotate.command import annotate_cli
from spacy_padellm.benchmark.command import PASSED_ON, benchmark_cli
from spacy_padellm.corpora.convert import JOINERS, SUFFIXES, Report, convert
from spacy_padellm.corpora.records import ConversionError

SHOWN_BAD_LINES = 10

padellm_cli = typer.Typer(
    name="padellm",
    help="Commands for named-entity recognition with large language models.",
    no_args_is_help=True,
)
app.add_typer(padellm_cli)
padellm_cli.command("benchmark", context_settings=PASSED_ON, add_help_option=False)(
    benchmark_cli
)
padellm_cli.command("analyze")(analyze_cli)
padellm_cli.command("annotate")(annotate_cli)
padellm_cli.command("tune")(tune_cli)


@padellm_cli.command("convert")
def convert_cli(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="File or folder; files may be .gz, .bz2 or .xz"
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="The .spacy file to write")
    ],
    data_format: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(SUFFIXES)}")
    ],
    lang: Annotated[
        str, typer.Option("--lang", "-l", help=f"One of {', '.join(JOINERS)}")
    ],
    flat: Annotated[
        bool, typer.Option("--flat", help="Write doc.ents only; no overlaps allowed")
    ] = False,
    spans_key: Annotated[
        str, typer.Option(help="Group of doc.spans for all mentions")
    ] = "padellm",
    own_labels: Annotated[
        bool,
        typer.Option(
            "--own-labels",
            help="Note in each Doc which labels the input annotates, to train on it "
            "beside inputs with other labels",
        ),
    ] = False,
    tag_column: Annotated[
        int | None,
        typer.Option(help="conll: column of the tags, 0 first, -1 last"),
    ] = None,
    token_column: Annotated[
        int | None,
        typer.Option(help="conll: column of the tokens; both are found if not given"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Exit with 0 in spite of bad lines")
    ] = False,
) -> None:
    """Convert NER data to a .spacy file.

    All mentions go to doc.spans, and those that do not overlap to doc.ents.
    Bad lines are left out and reported, and make the exit code 1.
    """
    try:
        report = convert(
            source,
            target,
            data_format=data_format,
            lang=lang,
            flat=flat,
            spans_key=spans_key,
            own_labels=own_labels,
            tag_column=tag_column,
            token_column=token_column,
        )
    except ConversionError as error:
        msg.fail(str(error), exits=1)
    print_report(report, target)
    if report.bad and not skip_bad:
        raise typer.Exit(code=1)


def print_report(report: Report, target: Path) -> None:
    """Print what a conversion did.

    report (Report): The counts.
    target (Path): The file written.
    """
    total = report.labels.total()
    msg.good(f"{report.docs} docs with {total} mentions: {target}")
    msg.table(report.labels.most_common(), header=("Label", "Mentions"), divider=True)
    if report.overlaps:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(report.overlaps.items()))
        msg.info(f"Overlapping mentions: {kinds}")
        msg.info(f"In doc.spans only, not in doc.ents: {report.outside_ents} mentions")
    if report.duplicates:
        msg.info(f"Exact duplicates merged: {report.duplicates}")
    if report.split_docs:
        msg.info(f"Docs with tokens split at a mention's edge: {report.split_docs}")
    if report.bad:
        msg.warn(f"Bad lines left out: {len(report.bad)}")
        for bad in report.bad[:SHOWN_BAD_LINES]:
            # Not msg.text: it would break a path across lines
            typer.echo(f"  {bad}")
