"""An analysis as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spacy_padellm.analysis.analyze.examples import (
    EXAMPLE_TITLES,
    ErrorExample,
    ErrorExamples,
    describe_mention,
)
from spacy_padellm.analysis.analyze.highlight import (
    gold_markup,
    label_colors,
    predicted_markup,
)
from spacy_padellm.analysis.analyze.report import tables
from spacy_padellm.analysis.analyze.tally import Analysis
from spacy_padellm.analysis.kinds import GOLD_KINDS, HEADINGS, PREDICTED_KINDS
from spacy_padellm.analysis.reliability import Reliability, measure_reliability

# larger counts share the last row and column of the count matrix
MAX_COUNT = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in a matrix.

    count (int): The number.
    share (float): Its share of the row, in 0..1.
    right (bool): Whether it is on the diagonal.
    """

    count: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """A square matrix: gold rows and generated columns with the same names.

    names (Sequence[str]): The columns' names.
    rows (Mapping[str, Sequence[Cell]]): Name -> cells.
    """

    names: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Figure:
    """An example of an error.

    note (str): What is wrong.
    gold, generated (Markup): The text with its gold and its generated mentions.
    not_in_text (str): The generated mentions that are not in the text.
    """

    note: str
    gold: Markup
    generated: Markup
    not_in_text: str


def make_page(
    analysis: Analysis,
    examples: ErrorExamples,
    *,
    title: str,
    facts: Iterable[str],
) -> str:
    """Render the page. Charts are left out where matplotlib is not installed.

    analysis (Analysis): The totals.
    examples (ErrorExamples): Examples of errors.
    title (str): The page's title.
    facts (Iterable[str]): Paragraphs for the top of the page.
    RETURNS (str): A complete HTML document.
    """
    colors = label_colors(analysis.labels)
    environment = Environment(
        loader=PackageLoader("spacy_padellm", "analysis/analyze"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = analysis.total()
    calibration = measure_reliability(total.scored)
    return environment.get_template("page.html.jinja").render(
        title=title,
        facts=facts,
        charts=_charts(analysis, calibration),
        counts=_count_matrix(total.counts),
        confusions=_matrix(analysis.confusions, list(analysis.labels)),
        calibration=calibration,
        tables=tables(analysis),
        legend={"Generated mentions": PREDICTED_KINDS, "Gold mentions": GOLD_KINDS},
        headings=HEADINGS,
        examples={
            heading: [_figure(example, colors) for example in examples.kept[kind]]
            for kind, heading in EXAMPLE_TITLES.items()
        },
    )


def _charts(analysis: Analysis, calibration: Reliability) -> dict[str, Markup] | None:
    """The charts as SVG; None without matplotlib."""
    if find_spec("matplotlib") is None:
        return None
    from spacy_padellm.analysis.analyze.charts import (
        draw_kinds,
        draw_reliability,
        to_svg,
    )

    tallies = {**analysis.labels, "all": analysis.total()}
    predicted = {label: tally.predicted for label, tally in tallies.items()}
    gold = {label: tally.golds for label, tally in tallies.items()}
    figures = {
        "predicted": draw_kinds(predicted, list(PREDICTED_KINDS)),
        "gold": draw_kinds(gold, list(GOLD_KINDS)),
        "reliability": draw_reliability(calibration),
    }
    return {name: to_svg(figure) for name, figure in figures.items()}


def _count_matrix(counts: Mapping[tuple[int, int], int]) -> Matrix:
    names = [*map(str, range(MAX_COUNT)), f"{MAX_COUNT}+"]
    cells: Counter[tuple[str, str]] = Counter()
    for (gold, generated), pairs in counts.items():
        row, column = names[min(gold, MAX_COUNT)], names[min(generated, MAX_COUNT)]
        cells[row, column] += pairs
    return _matrix(cells, names)


def _matrix(cells: Mapping[tuple[str, str], int], names: Sequence[str]) -> Matrix:
    """Lay out the counts of pairs (gold, generated)."""
    rows = {}
    for row in names:
        counts = {column: cells.get((row, column), 0) for column in names}
        total = max(sum(counts.values()), 1)
        rows[row] = [Cell(n, n / total, row == column) for column, n in counts.items()]
    return Matrix(names, rows)


def _figure(example: ErrorExample, colors: Mapping[str, str]) -> Figure:
    case, judgement = example.case, example.judgement
    not_in_text = [
        describe_mention(judged)
        for judged in judgement.mentions
        if judged.aligned.start is None and judged.aligned.mention.text.strip()
    ]
    return Figure(
        note=example.note,
        gold=gold_markup(case, colors),
        generated=predicted_markup(case, judgement, colors),
        not_in_text=", ".join(not_in_text),
    )
