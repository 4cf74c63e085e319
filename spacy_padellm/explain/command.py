"""`python -m spacy padellm explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import ModelArgument
from spacy_padellm.errors import Errors
from spacy_padellm.writable import exit_if_unwritable, make_writable, write_whole


def explain_cli(
    model: ModelArgument,
    text: Annotated[str, typer.Argument(help="A text, in quotes")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The SVG file to write"),
    ] = None,
    all_prompts: Annotated[
        bool,
        typer.Option(
            "--all-prompts",
            help="Run the prompts of labels whose tags are sure, too",
        ),
    ] = False,
) -> None:
    """Show how a text was decoded.

    Prints the forward passes, the count of each label, its mentions, and how many
    drafts were accepted; with --output it draws them as a token tree. The scores are
    the decoder's own: those of doc.ents are calibrated, where the model has a
    calibration, and can differ.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.inputs import load_for_analysis
    from spacy_padellm.corpora.files import plain_name
    from spacy_padellm.explain.draw import draw, summary
    from spacy_padellm.explain.run import explain

    try:
        if output is not None:
            if plain_name(output).suffix.lower() not in ("", ".svg"):
                raise ValueError(Errors.P1025.format(path=output))
            make_writable(output)
        nlp, pipe = load_for_analysis(model)
        doc, traces = explain(nlp, pipe, text, all_prompts=all_prompts)
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    for trace in traces:
        msg.divider(trace.text if len(trace.text) < 72 else trace.text[:71] + "…")
        rows = []
        for label in trace.labels:
            found = [m for m in trace.mentions if m.label == label.label]
            words = ", ".join(f"{m.text} {m.score:.2f}" for m in found)
            origin = f"pass {label.number}" if label.number else "sure tags"
            count = label.count if label.number else "-"
            rows.append((label.label, origin, count, len(found), words))
        header = ("label", "from", "count", "found", "mentions")
        msg.table(rows, header=header, divider=True)
        msg.text(summary(trace))
    entities = ", ".join(f"{ent.text} ({ent.label_})" for ent in doc.ents)
    msg.good(f"Entities: {entities or 'none'}")
    if output is not None:
        with exit_if_unwritable(output):
            write_whole(output, draw(traces).encode())
        msg.good(f"Drawn in {output}")
