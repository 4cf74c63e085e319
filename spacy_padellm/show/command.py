"""`python -m spacy padellm show`."""

from __future__ import annotations

import webbrowser
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import ModelArgument
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.writable import exit_if_unwritable, make_writable, write_whole


def show_cli(
    model: ModelArgument,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT-OR-FILE",
            help="A text, or a file: .txt (one text), .jsonl, .json, .spacy",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write")
    ] = Path("padellm.html"),
    limit: Annotated[
        int, typer.Option(min=1, help="Maximum number of texts of a file")
    ] = 100,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser")
    ] = False,
) -> None:
    """Show what a model finds in a text.

    Writes one HTML page: entities, the fainter the less probable; mentions below the
    threshold, dashed; what the model expects to have missed; and the time it took.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.inputs import load_for_analysis
    from spacy_padellm.corpora.records import BadLine
    from spacy_padellm.show.input import read_input
    from spacy_padellm.show.page import show_texts

    try:
        make_writable(output, inputs=[Path(text)])
        nlp, pipe = load_for_analysis(model)
        items = list(islice(read_input(text, nlp=nlp), limit))
        texts = [item.text for item in items if not isinstance(item, BadLine)]
        bad = [item for item in items if isinstance(item, BadLine)]
        if not texts:
            reason = str(bad[0]) if bad else "it has none"
            raise ValueError(Errors.P832.format(text=text, reason=reason))
        page = show_texts(nlp, pipe, texts)
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    if bad:
        msg.warn(Warnings.W230.format(n=len(bad), first=bad[0]))
    with exit_if_unwritable(output):
        write_whole(output, page.encode())
    msg.good(f"{len(texts)} text(s): {output}")
    if open_page:
        webbrowser.open(output.resolve().as_uri())
