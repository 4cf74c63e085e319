"""The page of an analysis: charts, examples, and that texts are escaped."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from spacy_padellm.analysis.analyze.charts import draw_kinds, draw_reliability, to_svg
from spacy_padellm.analysis.analyze.examples import EXAMPLE_TITLES, ErrorExamples
from spacy_padellm.analysis.analyze.page import make_page
from spacy_padellm.analysis.analyze.tally import Analysis
from spacy_padellm.analysis.kinds import GoldMention, WindowCase, judge
from spacy_padellm.analysis.reliability import measure_reliability
from spacy_padellm.mention.mention import Mention

LABEL = "<u>&"
TEXT = "<script>alert(1)</script> & Bob in Bob Town"
VOID = {"meta", "br"}


def make_case(*mentions: Mention, golds: tuple[GoldMention, ...] = ()) -> WindowCase:
    tokens = [match.span() for match in re.finditer(r"\S+", TEXT)]
    return WindowCase(TEXT, tokens, golds, mentions)


BOB = GoldMention(28, 31, LABEL)
TOWN = GoldMention(35, 43, "LOC")
CASES = (
    make_case(Mention(LABEL, 1, "Bob", 0.9), golds=(BOB,)),
    # nested, so rendered as spans
    make_case(
        Mention("LOC", 1, "Bob Town", 0.9),
        Mention("LOC", 2, "Town", 0.8),
        Mention(LABEL, 1, "<i>not there</i>", 0.4),
        golds=(BOB, TOWN),
    ),
    make_case(Mention(LABEL, 1, "<script>alert(1)</script>", 0.7)),
)


def page_of(*cases: WindowCase, limit: int = 4) -> str:
    labels = [LABEL, "LOC"]
    analysis, examples = Analysis.of(labels), ErrorExamples(limit)
    for case in cases:
        judgement = judge(case)
        analysis.add_window(case, judgement, labels)
        examples.add_window(case, judgement, labels)
        for mention in case.mentions:
            analysis.add_scored(mention.label, mention.score, right=True)
    return make_page(analysis, examples, title="<Title> & more", facts=["a < b"])


class Reader(HTMLParser):
    """Parses a page and checks that all elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            v or "" for k, v in attrs if k == "src" or k.endswith("href")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_analysis_page_is_wellformed_and_self_contained() -> None:
    page = page_of(*CASES)
    reader = Reader(page)
    # charts refer to their own elements
    assert all(address.startswith("#") for address in reader.addresses)
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert "url(" not in page
    assert "@import" not in page


def test_analysis_page_shows_markup_in_texts_and_labels_as_text() -> None:
    reader = Reader(page_of(*CASES))
    assert not {"i", "u"} & set(reader.tags)
    assert TEXT in reader.text
    assert "<i>not there</i>" in reader.text
    assert f"“Bob” ({LABEL})" in reader.text
    assert "<Title> & more" in reader.text
    assert "a < b" in reader.text


@pytest.mark.parametrize("cases", [CASES, ()], ids=["some", "none"])
def test_analysis_page_charts_are_wellformed(cases: tuple[WindowCase, ...]) -> None:
    charts = re.findall(r"<svg.*?</svg>", page_of(*cases), flags=re.DOTALL)
    assert len(charts) == (3 if cases else 2)
    for chart in charts:
        ElementTree.fromstring(chart)


def test_analysis_charts_bars_have_the_lengths_of_their_shares() -> None:
    counts = {LABEL: {"correct": 1, "spurious": 2}, "LOC": {"correct": 3}, "X": {}}
    figure = draw_kinds(counts, ["correct", "spurious"])
    correct, spurious = figure.axes[0].containers
    assert [bar.get_width() for bar in correct] == pytest.approx([100 / 3, 100, 0])
    assert [bar.get_width() for bar in spurious] == pytest.approx([200 / 3, 0, 0])
    assert spurious[0].get_x() == pytest.approx(100 / 3)


def test_analysis_charts_show_any_label_as_text() -> None:
    labels = ["$x$", "名称", "<u>&"]
    svg = to_svg(draw_kinds({label: {"correct": 1} for label in labels}, ["correct"]))
    texts = {text.strip() for text in ElementTree.fromstring(svg).itertext()}
    assert {f"{label} (1)" for label in labels} <= texts


def test_analysis_charts_reliability_has_a_point_for_each_filled_bin() -> None:
    reliability = measure_reliability([(0.15, False), (0.95, True), (0.95, False)])
    figure = draw_reliability(reliability)
    curve = figure.axes[0].lines[-1].get_xydata()
    assert curve == pytest.approx(np.array([[0.15, 0], [0.95, 0.5]]))


def test_analysis_page_confusions_are_a_table() -> None:
    page = page_of(make_case(Mention("LOC", 1, "Bob", 0.9), golds=(BOB,)))
    row = re.search(r"<tr><th>&lt;u&gt;&amp;</th>(<td.*?)</tr>", page)
    assert row is not None
    cells = re.findall(
        r'<td class="(\w+)" style="--share: ([\d.]+)">(\d*)</td>', row[1]
    )
    assert cells == [("right", "0.00", ""), ("wrong", "1.00", "1")]


def test_analysis_page_works_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = page_of(*CASES)
    assert "pip install 'spacy-padellm[analysis]'" in page
    assert "<svg" not in page
    assert page.count('<table class="matrix">') == 2
    assert "Expected calibration error" in page


def test_analysis_page_marks_kinds_without_examples() -> None:
    assert page_of().count('<p class="hint">none</p>') == len(EXAMPLE_TITLES)


@pytest.mark.parametrize(
    ("by_tags", "note"),
    [
        (True, "“Bob” (LOC, by its tags, 0.90): spurious"),
        (False, "“Bob” (LOC 2, 0.90): spurious"),
    ],
)
def test_analysis_examples_show_no_index_of_a_mention_of_the_tags(
    by_tags: bool, note: str
) -> None:
    assert note in page_of(make_case(Mention("LOC", 2, "Bob", 0.9, by_tags=by_tags)))


def test_analysis_examples_keep_the_highest_scores() -> None:
    examples = ErrorExamples(2)
    for score in (0.2, 0.9, 0.5):
        case = make_case(Mention("LOC", 1, "nowhere", score))
        examples.add_window(case, judge(case), ["LOC"])
    assert [e.weight for e in examples.kept["invented"]] == [0.9, 0.5]


def test_analysis_examples_keep_the_worst_counts() -> None:
    examples = ErrorExamples(1)
    for golds in ((), (TOWN,)):
        mentions = [Mention("LOC", n, "Bob", 0.5) for n in (1, 2)]
        case = make_case(*mentions, golds=golds)
        examples.add_window(case, judge(case), ["LOC"])
    (kept,) = examples.kept["count too high"]
    assert kept.note == "LOC: count 2, gold count 0"
