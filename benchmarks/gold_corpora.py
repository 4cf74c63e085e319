"""What benchmarks on gold corpora share: options, reading, and the table of figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from wasabi import msg

from spacy_padellm.analysis.inputs import GoldCorpus, read_gold_corpus
from spacy_padellm.pipeline.pipe import PaDeLLMNER
from spacy_padellm.text.renaming import parse_renaming


def corpora_parser(description: str | None) -> argparse.ArgumentParser:
    """The options: corpora, a model, labels to rename, and a file for the figures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("corpora", nargs="+", metavar="NAME=CORPUS")
    parser.add_argument("--model", default="bundled-en-sm")
    parser.add_argument("--rename", default="")
    parser.add_argument("--json", type=Path)
    return parser


def read_corpora(
    args: argparse.Namespace, nlp: Language, pipe: PaDeLLMNER
) -> Iterator[tuple[str, GoldCorpus]]:
    """Read the corpora of the options; yields each with its name.

    args (argparse.Namespace): The options.
    nlp (Language): The pipeline.
    pipe (PaDeLLMNER): Its pipe, whose labels are kept.
    """
    names = parse_renaming(args.rename)
    for corpus in args.corpora:
        name, _, path = corpus.partition("=")
        yield (
            name,
            read_gold_corpus(
                Path(path),
                nlp,
                labels=pipe.labels,
                names=names,
                spans_key=pipe.cfg["spans_key"],
                limit=None,
            ),
        )


def show_figures(figures: Sequence[Mapping[str, Any]], path: Path | None) -> None:
    """Print rows of figures as a table, and write them as JSON if there is a path."""
    columns = list(figures[0])
    cells = [[_shown(row[column]) for column in columns] for row in figures]
    msg.table(cells, header=columns, divider=True)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", "utf8")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
