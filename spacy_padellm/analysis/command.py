"""`python -m spacy padellm analyze`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from wasabi import msg

from spacy_padellm.analysis.options import parse_labels, parse_names
from spacy_padellm.errors import Warnings
from spacy_padellm.writable import make_writable

if TYPE_CHECKING:
    from spacy_padellm.analysis.inputs import GoldCorpus
    from spacy_padellm.analysis.run import AnalysisResult


def analyze_cli(
    model: Annotated[
        str, typer.Argument(help="Pipeline folder or package, or bundled-en")
    ],
    data: Annotated[Path, typer.Argument(help="Gold annotation, a .spacy file")],
    labels: Annotated[
        str | None,
        typer.Option(help="Comma-separated labels that the data annotates; else all"),
    ] = None,
    rename: Annotated[
        str,
        typer.Option(help="Labels of the data: old=new, comma-separated"),
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of texts to read; else all")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here")
    ] = None,
    html_path: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page with charts and examples here"),
    ] = None,
) -> None:
    """Say what a model gets wrong, and how often.

    Sorts all generated and all gold mentions into kinds of errors, by label, before
    de-duplication; compares the counts; and says whether the scores of the final
    spans mean what they say.
    """
    # spaCy imports this module for every command
    from spacy_padellm.analysis.inputs import load_analysed, read_gold
    from spacy_padellm.analysis.page import make_page
    from spacy_padellm.analysis.report import tables, to_dict
    from spacy_padellm.analysis.run import analyse

    try:
        names = parse_names(rename)
        outputs = [path for path in (json_path, html_path) if path is not None]
        for path in outputs:
            make_writable(path)
        nlp, pipe = load_analysed(model)
        chosen = parse_labels(labels, pipe.labels)
        corpus = read_gold(
            data,
            nlp,
            labels=chosen,
            names=names,
            spans_key=pipe.cfg["spans_key"],
            limit=limit,
        )
        result = analyse(nlp, pipe, corpus.docs, labels=chosen)
    except ValueError as error:
        msg.fail(str(error), exits=1)
    facts = {
        "model": model,
        "data": str(data),
        "texts": result.texts,
        "failed": len(result.failed),
        "not_annotated": corpus.skipped,
        "cut_mentions": result.cut,
        "other_labels": dict(sorted(corpus.other_labels.items())),
    }
    for title, headings, rows in tables(result.analysis):
        msg.divider(title)
        aligns = ("l", *"r" * (len(headings) - 1))
        msg.table(rows, header=headings, divider=True, aligns=aligns)
    read = f"{result.texts} texts as {result.analysis.windows} windows"
    msg.info(f"{read}: {model} on {data}")
    notes = _notes(corpus, result)
    for note in notes:
        msg.warn(note)
    if json_path is not None:
        figures: dict[str, Any] = {**facts, **to_dict(result.analysis)}
        json_path.write_text(json.dumps(figures, indent=2) + "\n", "utf8")
        msg.good(f"Figures: {json_path}")
    if html_path is not None:
        page = make_page(
            result.analysis,
            result.examples,
            title=f"Errors of {model} on {data.stem}",
            facts=[read, *notes],
        )
        html_path.write_text(page, "utf8")
        msg.good(f"Page: {html_path}")


def _notes(corpus: GoldCorpus, result: AnalysisResult) -> list[str]:
    """What was left out, and why."""
    from spacy_padellm.analysis.inputs import left_out

    notes = left_out(corpus)
    if result.cut:
        notes.append(Warnings.W192.format(n=result.cut))
    if result.failed:
        failed = result.failed
        notes.append(Warnings.W193.format(n=len(failed), error=failed[0].error))
    return notes
