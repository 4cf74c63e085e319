"""The page of an analysis: charts, examples, and that nothing in a text is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from spacy_padellm.analysis.examples import EXAMPLE_TITLES, Examples
from spacy_padellm.analysis.kinds import GoldMention, WindowCase, judge
from spacy_padellm.analysis.page import make_page
from spacy_padellm.analysis.tally import Analysis
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
    # nested, so drawn as spans
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
    analysis, examples = Analysis.of(labels), Examples(limit)
    for case in cases:
        judgement = judge(case)
        analysis.add_window(case, judgement, labels)
        examples.add_window(case, judgement, labels)
        for mention in case.mentions:
            analysis.add_scored(mention.label, mention.score, right=True)
    return make_page(analysis, examples, title="<Title> & more", facts=["a < b"])


class Reader(HTMLParser):
    """Reads a page; an element left open, or closed twice, is an error."""

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
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_analysis_page_is_sound_and_needs_nothing_else() -> None:
    page = page_of(*CASES)
    reader = Reader(page)
    assert reader.addresses == []
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
    assert len(charts) == (5 if cases else 4)
    for chart in charts:
        ElementTree.fromstring(chart)


def test_analysis_page_bars_have_the_lengths_of_their_shares() -> None:
    chart = re.findall(r"<svg.*?</svg>", page_of(*CASES), flags=re.DOTALL)[0]
    widths = {
        rect[0].text: float(rect.attrib["width"])
        for rect in ElementTree.fromstring(chart).iter("rect")
    }
    # of three mentions of the label one each is correct, invented and spurious
    parts = [f"{LABEL}, {kind}: 1 (33.3 %)" for kind in ("correct", "spurious")]
    assert widths[parts[0]] == widths[parts[1]]
    half = widths["LOC, boundary: 1 (50.0 %)"]
    assert half == pytest.approx(1.5 * widths[parts[0]], abs=0.2)


def test_analysis_page_says_where_there_is_no_example() -> None:
    assert page_of().count('<p class="hint">none</p>') == len(EXAMPLE_TITLES)


def test_analysis_examples_keep_the_likeliest() -> None:
    examples = Examples(2)
    for score in (0.2, 0.9, 0.5):
        case = make_case(Mention("LOC", 1, "nowhere", score))
        examples.add_window(case, judge(case), ["LOC"])
    assert [e.weight for e in examples.kept["invented"]] == [0.9, 0.5]


def test_analysis_examples_keep_the_worst_counts() -> None:
    examples = Examples(1)
    for golds in ((), (TOWN,)):
        mentions = [Mention("LOC", n, "Bob", 0.5) for n in (1, 2)]
        case = make_case(*mentions, golds=golds)
        examples.add_window(case, judge(case), ["LOC"])
    (kept,) = examples.kept["count too high"]
    assert kept.note == "2 of LOC counted, 0 in the gold annotation"
