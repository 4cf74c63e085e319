"""A short table of the figures that `run.sh` measured.

python -m benchmarks.gpu.table results
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.benchmark.results.report import table

HEAD = ["", "ms a text", "x floor", "words/s", "x floor, stream"]
TRAINING_HEAD = ["", "tokens/s", "% of matrix rate", "GiB"]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(figures_table(parser.parse_args().folder))


def figures_table(folder: Path) -> str:
    """The tables of decoding and of training; empty without results.

    folder (Path): The JSON files that the parts wrote.
    """
    found = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    decoding = [
        row for name, file in found.items() for row in decoding_rows(name, file)
    ]
    training = [
        row for name, file in found.items() for row in training_rows(name, file)
    ]
    tables = []
    if decoding:
        tables.append(table(HEAD, decoding))
    if training:
        tables.append(table(TRAINING_HEAD, training))
    return "\n\n".join(tables)


def read(path: Path) -> dict[str, Any]:
    """A file's figures; none if the part was ended while it wrote them."""
    try:
        figures = json.loads(path.read_text("utf8"))
    except ValueError:
        return {}
    return figures if isinstance(figures, dict) else {}


def decoding_rows(name: str, figures: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each decoder of a file."""
    for result in figures.get("results", ()):
        values = [
            result["mean_ms"],
            result.get("times_floor"),
            result.get("words_a_second"),
            result.get("stream_times_floor"),
        ]
        mark = " (unfinished)" if figures.get("unfinished") else ""
        yield [f"{name}: {result['name']}{mark}", *map(shown, values)]


def training_rows(name: str, figures: dict[str, Any]) -> Iterator[list[str]]:
    """The row of a file with training steps."""
    if training := figures.get("training"):
        share = 100 * training["share_of_matrix_rate"]
        values = [training["tokens_a_second"], share, training["peak_gib"]]
        yield [name, *map(shown, values)]


def shown(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    main()
