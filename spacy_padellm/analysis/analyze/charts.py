"""The charts of the analysis page, drawn by matplotlib as inline SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from spacy_padellm.analysis.kinds import HEADINGS, Kind
from spacy_padellm.analysis.reliability import Reliability

KIND_COLORS: dict[Kind, str] = {
    "correct": "#2b8a5f",
    "index": "#3568a8",
    "label": "#7b4ea3",
    "boundary": "#b0731b",
    "repeat": "#0f7f8c",
    "invented": "#a3386b",
    "spurious": "#c1503c",
    "missed": "#6b7280",
}
WIDTH = 9.0  # inches
MIN_WRITTEN_SHARE = 5.0  # percent; narrower parts of a bar have no room for a number
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw_kinds(
    counts: Mapping[str, Mapping[Kind, int]], kinds: Sequence[Kind]
) -> Figure:
    """Draw a stacked bar per label that shows the share of each kind of mention.

    counts (Mapping[str, Mapping[Kind, int]]): Label -> kind -> number of mentions.
    kinds (Sequence[Kind]): The kinds, in drawing order.
    """
    figure = Figure(figsize=(WIDTH, 1.2 + 0.4 * len(counts)), layout="constrained")
    axes = figure.subplots()
    labels = list(counts)
    totals = [sum(counts[label].values()) for label in labels]
    rows = range(len(labels))
    ends = [0.0] * len(labels)
    for kind in kinds:
        numbers = [counts[label].get(kind, 0) for label in labels]
        shares = [100 * n / max(t, 1) for n, t in zip(numbers, totals, strict=True)]
        bars = axes.barh(
            rows,
            shares,
            left=ends,
            color=KIND_COLORS[kind],
            label=HEADINGS[kind],
            clip_on=False,
        )
        written = [
            f"{number}" if share >= MIN_WRITTEN_SHARE else ""
            for number, share in zip(numbers, shares, strict=True)
        ]
        axes.bar_label(bars, written, label_type="center", color="white")
        ends = [end + share for end, share in zip(ends, shares, strict=True)]
    names = [f"{label} ({total})" for label, total in zip(labels, totals, strict=True)]
    # a "$" in a label is no formula
    axes.set_yticks(rows, names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("mentions (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        loc="outside upper center",
        ncols=len(kinds),
        frameon=False,
        handlelength=1,
        columnspacing=1.2,
    )
    return figure


def draw_reliability(calibration: Reliability) -> Figure:
    """Draw the share of correct spans by score, and the number of spans per bin.

    calibration (Reliability): The bins.
    """
    figure = Figure(figsize=(5.0, 4.5), layout="constrained")
    axes = figure.subplots()
    bins = [b for b in calibration.bins if b.count]
    most = max((b.count for b in bins), default=1)
    bars = axes.bar(
        [b.low for b in bins],
        [b.count / most / 4 for b in bins],
        width=[b.high - b.low for b in bins],
        align="edge",
        color="#7a8794",
        edgecolor="white",
        clip_on=False,
    )
    axes.bar_label(bars, [f"{b.count}" for b in bins], fontsize="small")
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", clip_on=False)
    axes.plot(
        [b.score for b in bins],
        [b.right for b in bins],
        color="#3568a8",
        marker="o",
        clip_on=False,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("score")
    axes.set_ylabel("share of correct spans")
    return figure


def to_svg(figure: Figure) -> Markup:
    """Render a figure as an `<svg>` element.

    figure (Figure): The figure.
    RETURNS (Markup): The element, safe to put into a page.
    """
    FigureCanvasSVG(figure)
    stream = io.StringIO()
    # text stays text, in the fonts of the browser; the same chart gets the same ids
    options = mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "spacy-padellm"})
    with options, warnings.catch_warnings():
        # the font matters for the layout alone: the browser has its own fonts
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="svg", metadata=NO_METADATA)
    svg = stream.getvalue()
    # an element of a page has neither an XML declaration nor a document type
    return Markup(svg[svg.index("<svg") :])
