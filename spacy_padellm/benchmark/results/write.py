"""Prints the figures of a run, and writes them to files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.benchmark.results.chart import draw_chart
from spacy_padellm.benchmark.results.report import (
    model_line,
    ratio_table,
    result_table,
    share_table,
    to_json,
)
from spacy_padellm.benchmark.settings import BenchmarkSettings
from spacy_padellm.errors import Errors
from spacy_padellm.writable import write_whole


def write_report(
    settings: BenchmarkSettings,
    results: list[Measurement],
    *,
    facts: dict[str, Any],
    stream: str,
) -> None:
    """Print the tables, and write the JSON and the chart.

    settings (BenchmarkSettings): Has the paths of the files.
    results (list[Measurement]): What was measured.
    facts (dict[str, Any]): The machine, the texts and the models.
    stream (str): What a stream of texts was read with.
    RAISES (ValueError): If a file cannot be written.
    """
    tables = (
        ratio_table(results),
        result_table(results, stream=stream),
        share_table(results),
    )
    print("\n\n".join(table for table in tables if table))
    for model in facts["models"]:
        print(f"\n{model_line(model)}")
    machine = ", ".join(f"{k} {v}" for k, v in facts["machine"].items() if v)
    print(f"\n{facts['texts']} texts of {facts['words']} words; {machine}")
    if settings.json is not None:
        write_json(settings.json, to_json(results, facts, stream=stream))
    if settings.chart is not None:
        names = ", ".join(model["name"] for model in facts["models"])
        title = f"{names}: {facts['texts']} texts on {facts['machine']['device']}"
        with told_if_unwritable(settings.chart):
            draw_chart(results, settings.chart, title=title, stream=stream)


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures, which take the place of earlier ones as a whole.

    path (Path): The file.
    figures (dict[str, Any]): The figures.
    RAISES (ValueError): If it cannot be written.
    """
    with told_if_unwritable(path):
        write_whole(path, f"{json.dumps(figures, indent=2)}\n".encode())


@contextmanager
def told_if_unwritable(path: Path) -> Iterator[None]:
    """Raise a ValueError if a file cannot be written inside the block."""
    try:
        yield
    except OSError as error:
        raise ValueError(Errors.P725.format(path=path, error=error)) from error
