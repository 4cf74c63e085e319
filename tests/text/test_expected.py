"""What the model expects of a Doc."""

from __future__ import annotations

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_padellm.mention.calibration import Calibration
from spacy_padellm.mention.mention import Mention, ScoredSpan, TextMentions
from spacy_padellm.text.doc_mentions import DocMentions, align_mentions
from spacy_padellm.text.expected import Expected, WindowCounts, expect_mentions
from spacy_padellm.text.span_getters import make_strided_spans
from spacy_padellm.text.windows import make_windows
from spacy_padellm.text.write_mentions import write_mentions

NLP = spacy.blank("en")
THRESHOLD = 0.5


def span(start: int, score: float, label: str = "A") -> ScoredSpan:
    return ScoredSpan(start, start + 2, label, score, "exact")


def expected(
    windows: list[WindowCounts], *spans: ScoredSpan
) -> dict[str, tuple[float, float]]:
    found = expect_mentions(windows, spans, lambda label: THRESHOLD)
    return {
        label: (pytest.approx(count), pytest.approx(missed))
        for label, (count, missed) in found.items()
    }


def window(start: int = 0, end: int = 100, **at_least: list[float]) -> WindowCounts:
    return WindowCounts(start, end, at_least)


@pytest.mark.parametrize(
    ("at_least", "spans", "count", "missed"),
    [
        ([0.9, 0.2], [span(0, 0.8)], 1.1, 0.2),
        ([0.9, 0.8, 0.1], [span(0, 0.8)], 1.8, 0.8),
        ([0.3], [], 0.3, 0.3),
        ([0.9], [span(0, 0.8), span(9, 0.7)], 0.9, 0.0),
        # a mention below the threshold is missed if it is right
        ([0.9, 0.2], [span(0, 0.8), span(9, 0.4)], 1.1, 0.4),
        ([], [], 0.0, 0.0),
    ],
)
def test_expected_of_counts(
    at_least: list[float], spans: list[ScoredSpan], count: float, missed: float
) -> None:
    assert expected([window(A=at_least)], *spans) == {"A": (count, missed)}


def test_expected_without_counts_is_that_of_the_scores() -> None:
    spans = [span(0, 0.9), span(9, 0.4), span(19, 0.2), span(29, 0.6, "B")]
    assert expected([], *spans) == {"A": (1.5, 1 - 0.6 * 0.8), "B": (0.6, 0.0)}


def test_expected_of_labels_with_and_without_counts() -> None:
    spans = [span(0, 0.9), span(9, 0.4, "B")]
    found = expected([window(A=[0.9, 0.3])], *spans)
    assert found == {"A": (1.2, 0.3), "B": (0.4, 0.4)}


def test_expected_of_windows_is_added_up() -> None:
    windows = [window(0, 10, A=[0.9, 0.2]), window(10, 20, A=[0.5])]
    assert expected(windows, span(5, 0.8)) == {"A": (1.6, 1 - 0.8 * 0.5)}


def test_expected_mentions_that_windows_share_count_once() -> None:
    windows = [window(0, 20, A=[0.9]), window(10, 30, A=[0.9])]
    count, _ = expected(windows, span(15, 0.8))["A"]
    assert count == 0.8


def test_expected_is_never_negative() -> None:
    spans = [span(0, 0.8), span(9, 0.8)]
    assert expected([window(A=[0.1])] * 3, *spans) == {"A": (0.0, 0.0)}


def test_expected_of_a_doc_is_kept_by_docbin() -> None:
    doc = NLP.make_doc("Bob and Al in Oslo")
    found = [
        TextMentions([Mention("PER", 1, "Bob", 0.8)], {"PER": [0.9, 0.4]}),
        TextMentions([], {"PER": [0.5]}),
    ]
    windows = make_windows([doc], make_strided_spans(3, 3), name="ner")
    [mentions] = align_mentions([doc], windows, found, dedup="on")
    write_mentions(
        doc,
        mentions,
        spans_key="padellm",
        alignment_mode="expand",
        lowest_score=lambda label: THRESHOLD,
        existing="overwrite",
    )
    [read] = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(NLP.vocab)
    for copy in (doc, read):
        assert copy._.padellm_expected == {
            "PER": Expected(pytest.approx(1.8), pytest.approx(0.7))
        }


def test_expected_scores_are_calibrated() -> None:
    doc = NLP.make_doc("Bob and Al in Oslo")
    raised = Calibration(offset=0.2)
    write_mentions(
        doc,
        DocMentions([span(0, 0.4)]),
        spans_key="padellm",
        alignment_mode="expand",
        lowest_score=lambda label: THRESHOLD,
        calibration=raised,
        existing="overwrite",
    )
    assert doc._.padellm_expected["A"].missed == pytest.approx(raised(0.4))


def test_expected_of_a_doc_that_no_component_read_is_empty() -> None:
    assert NLP.make_doc("Bob")._.padellm_expected == {}


def test_expected_of_many_windows_looks_at_each_span_few_times() -> None:
    reads = 0

    class Counted:
        label, score = "A", 0.8

        def __init__(self, start: int) -> None:
            self._start = start

        @property
        def start(self) -> int:
            nonlocal reads
            reads += 1
            return self._start

    number = 200
    windows = [window(10 * n, 10 * n + 10, A=[0.9, 0.2]) for n in range(number)]
    spans = [Counted(10 * n) for n in reversed(range(number))]
    found = expect_mentions(windows, spans, lambda label: THRESHOLD)  # type: ignore[arg-type]
    assert found["A"] == pytest.approx([1.1 * number, 1 - 0.8**number])
    assert reads < 10 * number
