"""The chart: bars on a logarithmic scale (the paper's Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from spacy_padellm.benchmark.measuring.measure import Measurement
from spacy_padellm.errors import Errors
from spacy_padellm.writable import write_whole


def check_matplotlib() -> None:
    """Check that charts can be drawn, before anything is measured.

    RAISES (ValueError): If matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ValueError(Errors.P160)


def draw_chart(
    results: Sequence[Measurement], path: Path, *, title: str, stream: str
) -> None:
    """Draw latency and throughput side by side.

    results (Sequence[Measurement]): All results of a run.
    path (Path): The PNG file.
    title (str): The title.
    stream (str): The function whose throughput is shown.
    """
    # without pyplot, which needs a display on some systems
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.5 + 0.42 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    alone = {result.name: 1000 * result.latency for result in results}
    _bars(left, alone, "ms a text, one at a time (less is better)")
    floors = [result for result in results if result.floor]
    for result in floors[:1]:
        assert result.floor is not None
        floor = 1000 * result.floor / len(result.latencies)
        left.axvline(floor, color="black", linestyle="--", linewidth=1)
        left.text(floor, 1.01, "floor", transform=left.get_xaxis_transform())
    streams = {
        result.name: rate
        for result in results
        if (rate := result.texts_a_second) is not None
    }
    _bars(right, streams, f"texts a second, {stream} (more is better)")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())


def _bars(axes: Any, values: dict[str, float], label: str) -> None:
    bars = axes.barh(list(values), list(values.values()), color="tab:blue")
    axes.bar_label(bars, fmt=_short, padding=3)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter("")  # its numbers would overlap
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
