"""A document's memory: names that were found raise the scores of their others."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.document_memory import remember

TEXT = "Kofi met Ana. Later Kofi left.\nAna and Kofi Annan stayed with Kofi\nAnnan."
LOWEST = 0.3


def mentions(
    *scores: float, name: str = r"\bKofi\b(?!\sAnnan)", label: str = "PER"
) -> list[ScoredSpan]:
    places = [match.span() for match in re.finditer(name, TEXT)]
    return [
        ScoredSpan(start, end, label, score, "exact")
        for (start, end), score in zip(places, scores, strict=False)
    ]


def remembered(*spans: ScoredSpan) -> list[float]:
    return [span.score for span in remember(TEXT, spans, lambda label: LOWEST)]


def test_document_memory_an_unlikely_mention_of_a_found_name_gets_the_mean() -> None:
    assert remembered(*mentions(0.9, 0.1)) == [0.9, 0.5]
    assert remembered(*mentions(0.1, 0.9)) == [0.5, 0.9]


def test_document_memory_a_line_break_in_a_name_is_a_space() -> None:
    assert remembered(*mentions(0.9, 0.1, name=r"Kofi\sAnnan")) == [0.9, 0.5]


def test_document_memory_likely_mentions_keep_their_scores() -> None:
    assert remembered(*mentions(0.9, 0.3)) == [0.9, 0.3]


def test_document_memory_the_likeliest_of_a_name_counts() -> None:
    spans = [*mentions(0.4, 0.2), *mentions(0.8)]
    assert remembered(*spans) == [0.4, 0.5, 0.8]


def test_document_memory_needs_the_same_label() -> None:
    assert remembered(*mentions(0.9), *mentions(0.1, label="ORG")) == [0.9, 0.1]


def test_document_memory_needs_the_whole_name() -> None:
    spans = [*mentions(0.9), *mentions(0.1, name=r"Kofi\sAnnan")]
    assert remembered(*spans) == [0.9, 0.1]


def test_document_memory_unlikely_mentions_do_not_help_each_other() -> None:
    assert remembered(*mentions(0.2, 0.1)) == [0.2, 0.1]


def test_document_memory_raises_one_label_of_a_place_if_labels_are_deduplicated() -> (
    None
):
    per, org = mentions(0.9, 0.2), mentions(0.8, 0.25, label="ORG")
    spans = [per[0], replace(org[0], start=0, end=4), per[1], org[1]]
    raised = [s.score for s in remember(TEXT, spans, lambda label: LOWEST, dedup="on")]
    assert raised == pytest.approx([0.9, 0.8, 0.55, 0.25])
    raised = [s.score for s in remember(TEXT, spans, lambda label: LOWEST, dedup="off")]
    assert raised == pytest.approx([0.9, 0.8, 0.55, 0.525])


def test_document_memory_of_equal_raised_scores_keeps_the_first() -> None:
    spans = [*mentions(0.9, 0.1), *mentions(0.9, 0.1, label="ORG")]
    raised = [s.score for s in remember(TEXT, spans, lambda label: LOWEST, dedup="on")]
    assert raised == [0.9, 0.5, 0.9, 0.1]


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(TEXT) - 1),
            st.integers(1, 12),
            st.sampled_from(["PER", "ORG"]),
            st.floats(0, 1),
        ),
        max_size=12,
    )
)
def test_document_memory_raises_scores_only_and_keeps_all_else(
    places: list[tuple[int, int, str, float]],
) -> None:
    spans = [
        ScoredSpan(start, start + size, label, score, "exact")
        for start, size, label, score in places
    ]
    raised = remember(TEXT, spans, lambda label: LOWEST)
    for before, after in zip(spans, raised, strict=True):
        assert (after.start, after.end, after.label) == (
            before.start,
            before.end,
            before.label,
        )
        assert after.score >= before.score
        if before.score >= LOWEST:
            assert after == before
