"""`python -m spacy padellm suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_padellm.analysis.arguments import ModelArgument
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.suggest.formats import Tool, write_suggestions
from spacy_padellm.writable import exit_if_unwritable, make_writable


def suggest_cli(
    model: ModelArgument,
    texts: Annotated[
        Path,
        typer.Argument(help="The texts: .jsonl, .json, .spacy, or one text per line"),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: .jsonl, or .json for one list; compressed with "
            ".gz, .bz2 or .xz after it",
        ),
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="How many texts")] = 200,
    tool: Annotated[
        Tool, typer.Option("--format", "-f", help="The tool that will read them")
    ] = Tool.prodigy,
    text_column: Annotated[
        str, typer.Option(help="JSON lines: the key of the text")
    ] = "text",
) -> None:
    """Choose the texts that are worth annotating next.

    These are the texts where the model most probably missed a mention or found a wrong
    one, chosen so that they are not alike. They are written with the model's mentions,
    to be corrected in an annotation tool. What the tool exports is read by
    'python -m spacy padellm convert'.
    """
    # imported here because spaCy imports this module for every command
    from spacy_padellm.analysis.inputs import load_with_components
    from spacy_padellm.corpora.files import plain_name
    from spacy_padellm.suggest.run import suggest
    from spacy_padellm.suggest.texts import read_texts

    try:
        make_writable(output, inputs=[texts])
        if plain_name(output).suffix.lower() == ".spacy":
            raise ValueError(Errors.P1008.format(path=output))
        nlp, _ = load_with_components(model)
        source = read_texts(texts, nlp=nlp, text_column=text_column)
        found = suggest(nlp, source, n=n)
        if not found.read:
            reasons = [*map(str, found.failed), *map(str, found.bad), "it has none"]
            raise ValueError(Errors.P230.format(path=texts, reason=reasons[0]))
        if not found.chosen:
            raise ValueError(Errors.P1030.format(model=model, path=texts))
    except (ConnectionError, ValueError) as error:  # a server may be lost
        msg.fail(str(error), exits=1)
    for items in (found.bad, found.failed):
        if items:
            msg.warn(Warnings.W230.format(n=len(items), first=items[0]))
    with exit_if_unwritable(output):
        write_suggestions(found.chosen, output, tool=tool, model=model)
    nested = sum(len(s.nested) for s in found.chosen)
    if nested and tool is Tool.prodigy:
        msg.warn(Warnings.W969.format(n=nested))
    mean = sum(s.score for s in found.chosen) / len(found.chosen)
    msg.info(
        f"Something to correct in {mean:.0%} of them, the model expects; in "
        f"{found.mean:.0%} of all {found.read} texts"
    )
    msg.good(f"{len(found.chosen)} texts for {tool.value}: {output}")
