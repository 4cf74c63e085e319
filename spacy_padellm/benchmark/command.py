"""`python -m spacy padellm benchmark`."""

from __future__ import annotations

import typer

# the options are parsed as in the command without spaCy
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def benchmark_cli(context: typer.Context) -> None:
    """Measure every decoder and its peers side by side; see --help for the options."""
    from spacy_padellm.benchmark.run import main

    raise typer.Exit(code=main(context.args, prog="python -m spacy padellm benchmark"))
