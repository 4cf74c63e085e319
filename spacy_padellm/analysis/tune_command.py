"""`python -m spacy padellm tune`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from wasabi import msg

from spacy_padellm.analysis.options import AnalysisError, parse_names, parse_wish
from spacy_padellm.errors import Errors
from spacy_padellm.writable import make_writable

if TYPE_CHECKING:
    from spacy_padellm.analysis.promise import Rates
    from spacy_padellm.analysis.promise_report import PromiseRow


def tune_cli(
    model: Annotated[
        str, typer.Argument(help="Pipeline folder or package, or bundled-en")
    ],
    data: Annotated[
        list[Path],
        typer.Argument(help="Gold annotation: .spacy files, each with the same weight"),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the pipeline to write")
    ],
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Replace the pipeline in the output folder, if any"
        ),
    ] = False,
    rename: Annotated[
        str,
        typer.Option(help="Rename labels of the data: old=new, comma-separated"),
    ] = "",
    recall: Annotated[
        str | None,
        typer.Option(
            help="Promise this recall on new texts: 0.9 of all labels together, or "
            "LABEL=0.9,... of each"
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Promise this precision instead, likewise")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures as JSON")
    ] = None,
) -> None:
    """Learn thresholds and a calibration of a model's scores.

    Writes a copy of the pipeline with a calibration, which turns scores into
    probabilities, and with a threshold per label, which gives the best mean span F1 on
    the data. Prints the results before and after, and on the half of the data that
    was not used for learning.

    With --recall or --precision, doc.spans["padellm_promised"] of this pipeline will
    hold mentions of which the promise is true with 90 % confidence: on as many new
    texts of the same kind, and more so on more of them.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.candidates import find_candidates
    from spacy_padellm.analysis.inputs import (
        exclusion_notes,
        load_for_analysis,
        read_gold_corpus,
    )
    from spacy_padellm.analysis.promise_report import add_promise
    from spacy_padellm.analysis.thresholds import cross_fit, evaluate_tuning, tune
    from spacy_padellm.mention.calibration import Tuning

    try:
        names = parse_names(rename)
        check_output(output, replace=force)
        make_writable(output / "meta.json")
        if json_path is not None:
            make_writable(json_path)
        nlp, pipe = load_for_analysis(model)
        wish = parse_wish(recall, precision, pipe.labels)
        golds = [
            read_gold_corpus(
                path,
                nlp,
                labels=pipe.labels,
                names=names,
                spans_key=pipe.cfg["spans_key"],
                limit=None,
            )
            for path in data
        ]
        for path, gold in zip(data, golds, strict=True):
            for note in exclusion_notes(gold):
                msg.warn(note)
            if not any(doc.mentions for doc in gold.docs):
                known = ", ".join(pipe.labels)
                raise AnalysisError(Errors.P198.format(path=path, known=known))
        before = Tuning(
            {k: pipe.lowest_score(k) for k in pipe.labels}, pipe.calibration
        )
        corpora = [find_candidates(nlp, pipe, gold) for gold in golds]
        tuning = tune(corpora, pipe.labels)
        rows: list[PromiseRow] = []
        if wish is not None:
            tuning, rows = add_promise(tuning, wish, corpora, data)
    except ValueError as error:
        msg.fail(str(error), exits=1)
    stages = {
        "before": [evaluate_tuning(corpus, before) for corpus in corpora],
        "with": [evaluate_tuning(corpus, tuning) for corpus in corpora],
        "unseen": cross_fit(corpora, pipe.labels),
    }
    figures: dict[str, Any] = {
        "model": model,
        "thresholds": dict(tuning.thresholds),
        "calibration": asdict(tuning.calibration),
    }
    for title, name in (
        ("Span F1", "span_f"),
        ("Calibration error", "calibration_error"),
    ):
        figures[name] = {
            str(path): {s: getattr(found[i], name) for s, found in stages.items()}
            for i, path in enumerate(data)
        }
        msg.table(
            [
                (path, *(f"{value:.3f}" for value in values.values()))
                for path, values in figures[name].items()
            ],
            header=(title, "before", "tuned", "on the other half"),
            divider=True,
        )
    msg.table(
        list(tuning.thresholds.items()), header=("Label", "Threshold"), divider=True
    )
    if wish is not None:
        measured = [asdict(row) for row in rows]
        figures["promise"] = {**asdict(wish), "measured": measured}
        msg.table(
            [
                (
                    row.name,
                    f"{row.threshold:g}",
                    row.path,
                    _both(row.promised),
                    _both(row.normal),
                )
                for row in rows
            ],
            header=(
                f"Promised {wish.measure}",
                "Threshold",
                "Recall / precision on",
                "promised",
                "doc.ents",
            ),
            divider=True,
        )
    pipe.set_tuning(tuning)
    nlp.to_disk(output)
    msg.good(f"Pipeline: {output}")
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", "utf8")


def _both(rates: Rates) -> str:
    return f"{rates.recall:.3f} / {rates.precision:.3f}"


def check_output(path: Path, *, replace: bool) -> None:
    """Check that a pipeline can be written without a loss.

    path (Path): The folder.
    replace (bool): Whether a pipeline in it may be replaced.
    RAISES (AnalysisError): If it holds a pipeline that may not, or anything else.
    """
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not (path / "meta.json").is_file():
        raise AnalysisError(Errors.P263.format(path=path))
    if not replace:
        raise AnalysisError(Errors.P262.format(path=path))
