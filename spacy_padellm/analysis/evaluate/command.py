"""`python -m spacy padellm evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import ModelArgument
from spacy_padellm.writable import exit_if_unwritable, make_writable, write_whole

PARTS = ("p", "r", "f")


def evaluate_cli(
    model: ModelArgument,
    data: Annotated[
        Path, typer.Argument(help="Gold annotation, a .spacy file or a folder of them")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the scores as JSON")
    ] = None,
) -> None:
    """Score a pipeline: its entities, all its mentions, and the paper's strings.

    `python -m spacy evaluate` prints the scores of doc.ents alone.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.evaluate.score import gold_files, score_corpus
    from spacy_padellm.analysis.inputs import check_there, load_for_analysis

    try:
        check_there(data, folders=True)
        if output is not None:
            make_writable(output, inputs=gold_files(data))
        nlp, pipe = load_for_analysis(model)
        scores = score_corpus(nlp, pipe, data)
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    key = pipe.cfg["spans_key"]
    kinds = {
        "Entities (doc.ents)": "ents",
        f'Mentions (doc.spans["{key}"])': f"spans_{key}",
        "Strings (as in the paper)": "strings",
    }
    _print_table("Scores", {name: _parts(scores, kind) for name, kind in kinds.items()})
    for name, kind in kinds.items():
        by_label = scores.get(f"{kind}_per_type") or {}
        _print_table(f"{name} by label", dict(sorted(by_label.items())))
    msg.info(f"{scores['speed']:.0f} words a second")
    if output is not None:
        with exit_if_unwritable(output):
            write_whole(output, f"{json.dumps(scores, indent=2)}\n".encode())
        msg.good(f"Scores: {output}")


def _parts(scores: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Precision, recall and F1 of a kind of score, those that there are."""
    keys = {part: f"{kind}_{part}" for part in PARTS}
    return {part: scores[key] for part, key in keys.items() if key in scores}


def _print_table(title: str, rows: Mapping[str, Mapping[str, float | None]]) -> None:
    cells = [
        (name, *(_percent(parts[part]) for part in PARTS))
        for name, parts in rows.items()
        if parts
    ]
    if cells:
        msg.divider(title)
        header = ("", "P", "R", "F")
        aligns = ("l", "r", "r", "r")
        msg.table(cells, header=header, divider=True, aligns=aligns, max_col=60)


def _percent(score: float | None) -> str:
    """A score in percent; None if nothing is annotated."""
    return "-" if score is None else f"{100 * score:.2f}"
