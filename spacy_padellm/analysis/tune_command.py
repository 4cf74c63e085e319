"""`python -m spacy padellm tune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.analysis.options import AnalysisError, make_writable, parse_names


def tune_cli(
    model: Annotated[
        str, typer.Argument(help="Pipeline folder or package, or bundled-en")
    ],
    data: Annotated[
        list[Path],
        typer.Argument(help="Gold annotation, .spacy files; each counts the same"),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the pipeline to write")
    ],
    rename: Annotated[
        str,
        typer.Option(help="Labels of the data: old=new, comma-separated"),
    ] = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here")
    ] = None,
) -> None:
    """Learn for each label how unlikely a mention may be.

    Writes a copy of the pipeline with the thresholds that give the best mean span F1
    over the data. Says what they gain, also on halves of the data that they were not
    learnt from.
    """
    # spaCy imports this module for every command
    from spacy_padellm.analysis.candidates import find_candidates
    from spacy_padellm.analysis.inputs import load_pipeline, read_gold
    from spacy_padellm.analysis.thresholds import cross_fit, learn_thresholds

    try:
        names = parse_names(rename)
        for path in (output, json_path):
            if path is not None:
                make_writable(path / "meta.json" if path is output else path)
        nlp, pipe = load_pipeline(model)
        golds = [
            read_gold(
                path,
                nlp,
                labels=pipe.labels,
                names=names,
                spans_key=pipe.cfg["spans_key"],
                limit=None,
            )
            for path in data
        ]
    except AnalysisError as error:
        msg.fail(str(error), exits=1)
    corpora = [find_candidates(nlp, pipe, gold) for gold in golds]
    thresholds = learn_thresholds(corpora, pipe.labels)
    unseen = cross_fit(corpora, pipe.labels)
    scores = {
        str(path): {
            "without": corpus.f_score({}),
            "with": corpus.f_score(thresholds),
            "unseen": score,
        }
        for path, corpus, score in zip(data, corpora, unseen, strict=True)
    }
    columns = ("without", "with", "unseen")
    msg.table(
        [(path, *(f"{f[c]:.3f}" for c in columns)) for path, f in scores.items()],
        header=("Span F1", "no thresholds", "thresholds", "of the other half"),
        divider=True,
    )
    msg.table(list(thresholds.items()), header=("Label", "Threshold"), divider=True)
    pipe.carry(thresholds)
    nlp.to_disk(output)
    msg.good(f"Pipeline: {output}")
    if json_path is not None:
        figures = {"model": model, "thresholds": thresholds, "span_f": scores}
        json_path.write_text(json.dumps(figures, indent=2) + "\n", "utf8")
