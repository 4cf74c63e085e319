"""The commands `python -m spacy padellm ...`."""

from __future__ import annotations

import typer
from spacy.cli import app

from spacy_padellm.analysis.analyze.command import analyze_cli
from spacy_padellm.analysis.evaluate.command import evaluate_cli
from spacy_padellm.analysis.tune.command import tune_cli
from spacy_padellm.annotate.command import annotate_cli
from spacy_padellm.benchmark.command import PASSED_ON, benchmark_cli
from spacy_padellm.cli.init_config import init_config_cli
from spacy_padellm.corpora.command import convert_cli
from spacy_padellm.explain.command import explain_cli
from spacy_padellm.show.command import show_cli
from spacy_padellm.suggest.command import suggest_cli

padellm_cli = typer.Typer(
    name="padellm",
    help="Commands for named-entity recognition with large language models.",
    no_args_is_help=True,
)
app.add_typer(padellm_cli)
padellm_cli.command("benchmark", context_settings=PASSED_ON, add_help_option=False)(
    benchmark_cli
)
padellm_cli.command("analyze")(analyze_cli)
padellm_cli.command("annotate")(annotate_cli)
padellm_cli.command("evaluate")(evaluate_cli)
padellm_cli.command("tune")(tune_cli)
padellm_cli.command("convert")(convert_cli)
padellm_cli.command("init-config")(init_config_cli)
padellm_cli.command("suggest")(suggest_cli)
padellm_cli.command("show")(show_cli)
padellm_cli.command("explain")(explain_cli)
