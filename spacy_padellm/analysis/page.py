"""An analysis as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from spacy_padellm.analysis.calibration import measure_reliability
from spacy_padellm.analysis.charts import heat_table, reliability, stacked_bars
from spacy_padellm.analysis.examples import (
    EXAMPLE_TITLES,
    Example,
    Examples,
    describe,
)
from spacy_padellm.analysis.highlight import (
    gold_markup,
    label_colors,
    predicted_markup,
)
from spacy_padellm.analysis.kinds import GOLD_KINDS, HEADINGS, PREDICTED_KINDS, Kind
from spacy_padellm.analysis.report import tables
from spacy_padellm.analysis.tally import Analysis, Tally

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
MOST_COUNTED = 6

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
svg { max-width: 100%; height: auto; font-size: 13px; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8886;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
figure { margin: 1rem 0; padding: .6rem 1rem; border: 1px solid #8886;
  border-radius: .5rem; }
figcaption { font-weight: 600; }
.row { display: grid; grid-template-columns: 6rem 1fr; align-items: baseline; }
.row > div { overflow-x: auto; }
.side, .hint { opacity: .75; font-size: .9rem; }
mark { color: #111; }
"""


def make_page(
    analysis: Analysis,
    examples: Examples,
    *,
    title: str,
    facts: Iterable[str],
) -> str:
    """Make the page.

    analysis (Analysis): The totals.
    examples (Examples): Examples of errors.
    title (str): What was analysed.
    facts (Iterable[str]): What to say first, a line each.
    RETURNS (str): A whole HTML document.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="hint">{escape(fact)}</p>' for fact in facts),
        *_charts(analysis),
        "<h2>Figures</h2>",
        *_tables(analysis),
        "<h2>What the kinds mean</h2>",
        *_legend(),
        "<h2>Examples</h2>",
        '<p class="hint">The likeliest mentions and the worst counts. Each generated '
        "mention with its label, its index and its probability.</p>",
        *_examples(examples, label_colors(analysis.labels)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _charts(analysis: Analysis) -> Iterator[str]:
    total = analysis.total()
    tallies = {**analysis.labels, "all": total}
    yield "<h2>Generated mentions by kind</h2>"
    yield _kind_bars(
        {label: tally.predicted for label, tally in tallies.items()}, PREDICTED_KINDS
    )
    yield "<h2>Gold mentions by kind</h2>"
    yield _kind_bars(
        {label: tally.golds for label, tally in tallies.items()}, GOLD_KINDS
    )
    yield "<h2>Counts</h2>"
    yield '<p class="hint">Pairs of a text and a label by their number of mentions.</p>'
    yield _count_table(total)
    yield "<h2>Labels</h2>"
    yield (
        '<p class="hint">Generated mentions with the characters of a gold mention.</p>'
    )
    labels = list(analysis.labels)
    yield _scrolling(
        heat_table(
            analysis.confusions,
            rows=labels,
            columns=labels,
            row_title="gold",
            column_title="generated",
            title="Labels of generated mentions by gold label",
        )
    )
    calibration = measure_reliability(total.scored)
    yield "<h2>Scores</h2>"
    if calibration.error is None:
        yield "<p>No span was found.</p>"
        return
    yield (
        f"<p>Expected calibration error of the {calibration.count} final spans: "
        f"<b>{calibration.error:.3f}</b>. On the dashed line scores mean what they "
        "say; the bars show how many spans have such a score.</p>"
    )
    yield reliability(calibration, title="Share of right spans by score")


def _kind_bars(rows: Mapping[str, Counter[Kind]], kinds: Iterable[Kind]) -> str:
    kinds = list(kinds)
    named = {
        label: {HEADINGS[kind]: numbers[kind] for kind in kinds}
        for label, numbers in rows.items()
    }
    colors = {HEADINGS[kind]: KIND_COLORS[kind] for kind in kinds}
    return stacked_bars(named, colors, title="Mentions by label and kind")


def _count_table(total: Tally) -> str:
    names = [*map(str, range(MOST_COUNTED)), f"{MOST_COUNTED}+"]
    cells: Counter[tuple[str, str]] = Counter()
    for (gold, found), pairs in total.counts.items():
        row, column = names[min(gold, MOST_COUNTED)], names[min(found, MOST_COUNTED)]
        cells[row, column] += pairs
    return _scrolling(
        heat_table(
            cells,
            rows=names,
            columns=names,
            row_title="gold",
            column_title="generated",
            title="Generated counts by gold count",
        )
    )


def _tables(analysis: Analysis) -> Iterator[str]:
    for title, headings, rows in tables(analysis):
        yield f"<h3>{escape(title)}</h3>"
        lines = [_row("th", headings), *(_row("td", row) for row in rows)]
        yield _scrolling(f"<table>{''.join(lines)}</table>")


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _scrolling(content: str) -> str:
    return f'<div class="scroll">{content}</div>'


def _legend() -> Iterator[str]:
    for title, kinds in (
        ("Generated mentions", PREDICTED_KINDS),
        ("Gold mentions", GOLD_KINDS),
    ):
        yield f"<h3>{title}</h3><dl>"
        for kind, meaning in kinds.items():
            yield f"<dt>{HEADINGS[kind]}</dt><dd>{escape(meaning)}</dd>"
        yield "</dl>"


def _examples(examples: Examples, colors: Mapping[str, str]) -> Iterator[str]:
    for kind, title in EXAMPLE_TITLES.items():
        kept = examples.kept[kind]
        yield f"<h3>{escape(title)}</h3>"
        if not kept:
            yield '<p class="hint">none</p>'
        for example in kept:
            yield _figure(example, colors)


def _figure(example: Example, colors: Mapping[str, str]) -> str:
    case, judgement = example.case, example.judgement
    unplaced = [
        describe(found)
        for found in judgement.mentions
        if found.aligned.start is None and found.aligned.mention.text.strip()
    ]
    rows = [
        ("gold", gold_markup(case, colors)),
        ("generated", predicted_markup(case, judgement, colors)),
    ]
    if unplaced:
        rows.append(("no place for", escape(", ".join(unplaced))))
    drawn = "".join(
        f'<div class="row"><span class="side">{side}</span><div>{markup}</div></div>'
        for side, markup in rows
    )
    caption = f"<figcaption>{escape(example.note)}</figcaption>"
    return f"<figure>{caption}{drawn}</figure>"
