"""Charts as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from spacy_padellm.analysis.calibration import Reliability

WIDTH = 640
_GAP = 12
_BAR = 24
_CELL = 46
_CHAR = 8.0  # a letter's width, on the safe side


def stacked_bars(
    rows: Mapping[str, Mapping[str, int]], colors: Mapping[str, str], *, title: str
) -> str:
    """A bar for each row, whose parts show their share of it, with a legend.

    rows (Mapping[str, Mapping[str, int]]): Row -> part -> how many.
    colors (Mapping[str, str]): Part -> its colour, in the order to draw.
    title (str): What the chart shows, for screen readers.
    """
    left = _label_width(rows)
    right = 8 + _CHAR * max(len(f"{sum(parts.values())}") for parts in rows.values())
    room = WIDTH - left - right
    drawn: list[str] = []
    legend_end = _legend(drawn, colors, left)
    for place, (row, parts) in enumerate(rows.items()):
        y = legend_end + place * (_BAR + _GAP)
        middle = y + _BAR / 2
        drawn.append(_text(row, left - 8, middle, anchor="end"))
        total = sum(parts.values())
        x = left
        for part, color in colors.items():
            width = room * parts.get(part, 0) / max(total, 1)
            if not width:
                continue
            share = f"{row}, {part}: {parts[part]} ({100 * parts[part] / total:.1f} %)"
            drawn.append(_rect(x, y, width, _BAR, color, hint=share))
            if width > _CHAR * len(f"{parts[part]}") + 4:
                drawn.append(
                    _text(f"{parts[part]}", x + width / 2, middle, color="#fff")
                )
            x += width
        drawn.append(_text(f"{total}", WIDTH, middle, anchor="end"))
    return _svg(drawn, WIDTH, legend_end + len(rows) * (_BAR + _GAP), title=title)


def heat_table(
    cells: Mapping[tuple[str, str], int],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_title: str,
    column_title: str,
    title: str,
) -> str:
    """A table of numbers, the darker the larger their share of the row.

    cells (Mapping[tuple[str, str], int]): (row, column) -> how many; those that are
        missing are 0. Cells whose row and column are the same have a green ground.
    rows, columns (Sequence[str]): What to draw, in this order.
    row_title, column_title (str): What rows and columns are.
    title (str): What the chart shows, for screen readers.
    """
    left = _label_width([*rows, row_title])
    top = 44
    width = max(_CELL, _CHAR * max(map(len, columns)) + 8)
    drawn = [
        _text(row_title, left - 8, 30, anchor="end", bold=True),
        _text(column_title, left, 10, anchor="start", bold=True),
    ]
    for j, column in enumerate(columns):
        drawn.append(_text(column, left + (j + 0.5) * width, 30))
    for i, row in enumerate(rows):
        y = top + i * 30
        total = sum(cells.get((row, column), 0) for column in columns)
        drawn.append(_text(row, left - 8, y + 14, anchor="end"))
        for j, column in enumerate(columns):
            number = cells.get((row, column), 0)
            share = number / max(total, 1)
            hint = f"{row_title} {row}, {column_title} {column}: {number}"
            color = "#2b8a5f" if row == column else "#c1503c"
            x = left + j * width
            drawn.append(_rect(x, y, width - 2, 28, "#8884", hint=hint, opacity=0.3))
            if number:
                drawn.append(
                    _rect(
                        x,
                        y,
                        width - 2,
                        28,
                        color,
                        hint=hint,
                        opacity=0.15 + 0.85 * share,
                    )
                )
                ink = "#fff" if share > 0.5 else None
                drawn.append(_text(f"{number}", x + width / 2 - 1, y + 14, color=ink))
    size = left + len(columns) * width
    size = max(size, left + _CHAR * len(column_title))
    return _svg(drawn, size, top + len(rows) * 30, title=title)


def reliability(calibration: Reliability, *, title: str) -> str:
    """The share of right spans by score; on the diagonal the scores say it.

    calibration (Reliability): What to draw.
    title (str): What the chart shows, for screen readers.
    """
    side, left, top = 300, 48, 8
    most = max((b.count for b in calibration.bins), default=0)
    drawn = [_rect(left, top, side, side, "#8884", hint=title, opacity=0.3)]
    for tick in range(0, 11, 2):
        value, label = tick / 10, f"{tick / 10:.1f}"
        drawn.append(_text(label, left + value * side, top + side + 14))
        drawn.append(_text(label, left - 8, top + side - value * side, anchor="end"))
    drawn.append(
        f'<line x1="{left}" y1="{top + side}" x2="{left + side}" y2="{top}" '
        'stroke="currentColor" stroke-dasharray="4 4" opacity="0.6"/>'
    )
    points = []
    for b in calibration.bins:
        if not b.count:
            continue
        height = 0.25 * side * b.count / most
        x = left + b.low * side
        width = (b.high - b.low) * side - 2
        hint = (
            f"score {b.low:.1f} to {b.high:.1f}: {b.count} spans, {b.right:.3f} right, "
            f"mean score {b.score:.3f}"
        )
        drawn.append(
            _rect(x + 1, top + side - height, width, height, "#7a8794", hint=hint)
        )
        points.append((left + b.score * side, top + side - b.right * side, hint))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    drawn.append(
        f'<polyline points="{path}" fill="none" stroke="#3568a8" stroke-width="2"/>'
    )
    for x, y, hint in points:
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="#3568a8">'
            f"<title>{escape(hint)}</title></circle>"
        )
    drawn.append(_text("score", left + side / 2, top + side + 34))
    drawn.append(
        f'<g transform="translate(10 {top + side / 2}) rotate(-90)">'
        + _text("share of right spans", 0, 0)
        + "</g>"
    )
    return _svg(drawn, left + side + 16, top + side + 44, title=title)


def _label_width(labels: Sequence[str] | Mapping[str, object]) -> float:
    return 16 + _CHAR * max((len(label) for label in labels), default=0)


def _legend(drawn: list[str], colors: Mapping[str, str], left: float) -> float:
    """Draw a legend; gives the height at which it ends."""
    x, y = left, 8.0
    for part, color in colors.items():
        width = 32 + _CHAR * len(part)
        if x + width > WIDTH and x > left:
            x, y = left, y + 22
        drawn.append(_rect(x, y - 6, 12, 12, color, hint=part))
        drawn.append(_text(part, x + 18, y, anchor="start"))
        x += width
    return y + 20


def _svg(drawn: Sequence[str], width: float, height: float, *, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    )


def _rect(
    x: float,
    y: float,
    width: float,
    height: float,
    color: str,
    *,
    hint: str,
    opacity: float = 1.0,
) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{color}" opacity="{opacity:.2f}"><title>{escape(hint)}</title></rect>'
    )


def _text(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "middle",
    color: str | None = None,
    bold: bool = False,
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'dominant-baseline="central" fill="{color or "currentColor"}"{weight} '
        f'pointer-events="none">{escape(text)}</text>'
    )
