"""`python -m spacy padellm convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.corpora.convert import (
    AUTO,
    FORMATS,
    SPANS_KEY,
    ConversionReport,
    convert,
)
from spacy_padellm.corpora.records import ConversionError
from spacy_padellm.text.renaming import RenamingError, parse_renaming

SHOWN_BAD_LINES = 10


def convert_cli(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="File or folder; files may end in .gz, .bz2 or .xz"
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="The .spacy file to write")
    ],
    lang: Annotated[
        str,
        typer.Option("--lang", "-l", help="Language of spaCy: en, de, zh, xx, ..."),
    ],
    data_format: Annotated[
        str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}")
    ] = AUTO,
    flat: Annotated[
        bool,
        typer.Option(
            "--flat", help="Write doc.ents only; overlapping mentions are an error"
        ),
    ] = False,
    spans_key: Annotated[
        str,
        typer.Option(help="Key of doc.spans that gets all mentions; not with --flat"),
    ] = SPANS_KEY,
    own_labels: Annotated[
        bool,
        typer.Option(
            "--own-labels",
            help="Record in each Doc which labels the input annotates, so that you can "
            "train on inputs with different labels",
        ),
    ] = False,
    rename: Annotated[
        str,
        typer.Option(help="Rename labels of the data: old=new, comma-separated"),
    ] = "",
    tag_column: Annotated[
        int | None,
        typer.Option(
            help="conll: column of the tags; 0 is the first, -1 the last. Default: "
            "detected"
        ),
    ] = None,
    token_column: Annotated[
        int | None,
        typer.Option(help="conll: column of the tokens. Default: detected"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Exit with code 0 despite bad lines")
    ] = False,
) -> None:
    """Convert NER data to a .spacy file.

    All mentions go to doc.spans; the longest ones that do not overlap also go to
    doc.ents. Bad lines are skipped and reported, and make the exit code 1.
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
            names=parse_renaming(rename),
            tag_column=tag_column,
            token_column=token_column,
        )
    except (ConversionError, RenamingError) as error:
        msg.fail(str(error), exits=1)
    print_report(report, target)
    if report.bad and not skip_bad:
        raise typer.Exit(code=1)


def print_report(report: ConversionReport, target: Path) -> None:
    """Print the counts of a conversion.

    report (ConversionReport): The counts.
    target (Path): The file written.
    """
    total = report.labels.total()
    msg.good(f"{report.docs} docs with {total} mentions: {target}")
    msg.table(report.labels.most_common(), header=("Label", "Mentions"), divider=True)
    if report.files > 1:
        msg.info(f"Files read: {report.files}")
    if report.overlaps:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(report.overlaps.items()))
        msg.info(f"Overlapping mentions: {kinds}")
        msg.info(f"In doc.spans only, not in doc.ents: {report.outside_ents} mentions")
    if report.duplicates:
        msg.info(f"Exact duplicates merged: {report.duplicates}")
    if report.split_docs:
        msg.info(f"Docs with tokens split at a mention's edge: {report.split_docs}")
    for note, count in report.notes.items():
        msg.info(f"{note}: {count}")
    if report.bad:
        msg.warn(f"Bad lines left out: {len(report.bad)}")
        for bad in report.bad[:SHOWN_BAD_LINES]:
            # not msg.text, which would break a path across lines
            typer.echo(f"  {bad}")
