"""`python -m spacy padellm analyze`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import JsonOption, ModelArgument, RenameOption
from spacy_padellm.analysis.options import parse_labels
from spacy_padellm.errors import Warnings
from spacy_padellm.progress import count_progress
from spacy_padellm.text.renaming import parse_renaming
from spacy_padellm.writable import exit_if_unwritable, make_all_writable, write_whole

if TYPE_CHECKING:
    from spacy_padellm.analysis.analyze.run import AnalysisResult
    from spacy_padellm.analysis.analyze.tally import Analysis
    from spacy_padellm.analysis.inputs import GoldCorpus


def analyze_cli(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(help="Gold annotation, a .spacy file")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated labels that the data annotates. Default: all"
        ),
    ] = None,
    rename: RenameOption = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of texts. Default: all")
    ] = None,
    json_path: JsonOption = None,
    html_path: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Write a page with charts and examples to this file"
        ),
    ] = None,
) -> None:
    """Show which errors a model makes, and how often.

    Classifies all generated and all gold mentions before de-duplication, by label and
    kind of error; compares the generated counts with the gold counts; and measures
    the calibration of the final spans' scores.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.analyze.page import make_page
    from spacy_padellm.analysis.analyze.report import to_dict
    from spacy_padellm.analysis.analyze.run import analyse
    from spacy_padellm.analysis.inputs import (
        check_shared_labels,
        load_for_analysis,
        read_gold_corpus,
    )

    try:
        names = parse_renaming(rename)
        make_all_writable({"--json": json_path, "--html": html_path}, inputs=[data])
        nlp, pipe = load_for_analysis(model)
        analysed_labels = parse_labels(labels, pipe.labels)
        corpus = read_gold_corpus(
            data,
            nlp,
            labels=analysed_labels,
            names=names,
            spans_key=pipe.cfg["spans_key"],
            limit=limit,
        )
        if limit is None:
            check_shared_labels(corpus, analysed_labels, path=data)
        docs = count_progress(corpus.docs, len(corpus.docs))
        result = analyse(nlp, pipe, docs, labels=analysed_labels)
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    _print_tables(result.analysis)
    summary = f"{result.texts} texts as {result.analysis.windows} windows"
    msg.info(f"{summary}: {model} on {data}")
    notes = _notes(corpus, result)
    for note in notes:
        msg.warn(note)
    if json_path is not None:
        figures = {**_facts(model, data, corpus, result), **to_dict(result.analysis)}
        with exit_if_unwritable(json_path):
            write_whole(json_path, f"{json.dumps(figures, indent=2)}\n".encode())
        msg.good(f"Figures: {json_path}")
    if html_path is not None:
        title, facts = f"Errors of {model} on {data.stem}", [summary, *notes]
        page = make_page(result.analysis, result.examples, title=title, facts=facts)
        with exit_if_unwritable(html_path):
            write_whole(html_path, page.encode())
        msg.good(f"Page: {html_path}")


def _print_tables(analysis: Analysis) -> None:
    from spacy_padellm.analysis.analyze.report import tables

    for title, headings, rows in tables(analysis):
        msg.divider(title)
        aligns = ("l", *"r" * (len(headings) - 1))
        msg.table(rows, header=headings, divider=True, aligns=aligns)


def _facts(
    model: str, data: Path, corpus: GoldCorpus, result: AnalysisResult
) -> dict[str, Any]:
    """What was analysed, for the JSON file."""
    return {
        "model": model,
        "data": str(data),
        "texts": result.texts,
        "failed": len(result.failed),
        "not_annotated": corpus.skipped,
        "cut_mentions": result.cut,
        "other_labels": dict(sorted(corpus.other_labels.items())),
    }


def _notes(corpus: GoldCorpus, result: AnalysisResult) -> list[str]:
    """Notes on what was left out, and why."""
    from spacy_padellm.analysis.inputs import exclusion_notes

    notes = exclusion_notes(corpus)
    if result.cut:
        notes.append(Warnings.W192.format(n=result.cut))
    if result.failed:
        failed = result.failed
        notes.append(Warnings.W193.format(n=len(failed), error=failed[0].error))
    return notes
