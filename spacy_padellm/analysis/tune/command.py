"""`python -m spacy padellm tune`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import JsonOption, ModelArgument, RenameOption
from spacy_padellm.analysis.options import AnalysisError, parse_promise
from spacy_padellm.checks import check_path
from spacy_padellm.errors import Errors
from spacy_padellm.replacing import replaced_folder
from spacy_padellm.text.renaming import parse_renaming
from spacy_padellm.writable import exit_if_unwritable, make_writable, write_whole

if TYPE_CHECKING:
    from spacy.language import Language

    from spacy_padellm.analysis.inputs import GoldCorpus
    from spacy_padellm.pipeline.pipe import PaDeLLMNER


def tune_cli(
    model: ModelArgument,
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
    rename: RenameOption = "",
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
    json_path: JsonOption = None,
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
    from spacy_padellm.analysis.inputs import load_for_analysis
    from spacy_padellm.analysis.tune.report import (
        tune_figures,
        tune_pipe,
        tune_tables,
    )

    try:
        names = parse_renaming(rename)
        check_output(output, replace=force)
        make_writable(output / "meta.json")
        if json_path is not None:
            make_writable(json_path, inputs=data)
        nlp, pipe = load_for_analysis(model)
        requested = parse_promise(recall, precision, pipe.labels)
        golds = _read_corpora(data, nlp, pipe, names=names)
        result = tune_pipe(nlp, pipe, golds, paths=data, requested=requested)
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    figures = tune_figures(result, model=model)
    for header, rows in tune_tables(result, figures):
        msg.table(rows, header=header, divider=True)
    pipe.set_tuning(result.tuning)
    with exit_if_unwritable(output):
        _save(nlp, pipe, output.resolve())
    msg.good(f"Pipeline: {output}")
    if json_path is not None:
        with exit_if_unwritable(json_path):
            write_whole(json_path, f"{json.dumps(figures, indent=2)}\n".encode())


def _read_corpora(
    paths: Sequence[Path], nlp: Language, pipe: PaDeLLMNER, *, names: dict[str, str]
) -> list[GoldCorpus]:
    """Read the gold annotation, and print what was left out."""
    from spacy_padellm.analysis.inputs import exclusion_notes, read_gold_corpus

    golds = [
        read_gold_corpus(
            path,
            nlp,
            labels=pipe.labels,
            names=names,
            spans_key=pipe.cfg["spans_key"],
            limit=None,
        )
        for path in paths
    ]
    for path, gold in zip(paths, golds, strict=True):
        for note in exclusion_notes(gold):
            msg.warn(note)
        if not any(doc.mentions for doc in gold.docs):
            known = ", ".join(pipe.labels)
            raise AnalysisError(Errors.P198.format(path=path, known=known))
    return golds


def check_output(path: Path, *, replace: bool) -> None:
    """Check that a pipeline can be written without a loss.

    path (Path): The folder.
    replace (bool): Whether a pipeline in it may be replaced.
    RAISES (AnalysisError): If it holds a pipeline that may not, or anything else.
    """
    try:
        check_path(path)
        if not path.is_dir() or not any(path.iterdir()):
            return
        is_pipeline = (path / "meta.json").is_file()
    except OSError as error:  # it is in a folder that may not be read
        raise AnalysisError(Errors.P197.format(path=path, error=error)) from error
    if not is_pipeline:
        raise AnalysisError(Errors.P263.format(path=path))
    if not replace:
        raise AnalysisError(Errors.P262.format(path=path))


def _save(nlp: Language, pipe: PaDeLLMNER, path: Path) -> None:
    """Save a pipeline. After an error the old one is in its place, if there is one.

    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its component.
    path (Path): The folder, without links.
    RAISES (OSError): If it cannot be written.
    """
    pipe.handle.check_save_place(path / pipe.name)
    if os.path.ismount(path) or not os.access(path.parent, os.W_OK):
        nlp.to_disk(path)  # a folder beside it cannot take its place
        return
    names = {"tokenizer", "meta.json", "config.cfg", "vocab", *nlp.component_names}
    with replaced_folder(path, names) as folder:
        nlp.to_disk(folder)
        names &= {*os.listdir(folder)}  # some components have no files
