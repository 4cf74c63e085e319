"""From the mentions of windows to those of a Doc."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from spacy.tokens import Doc
from span_helpers import NLP

from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.doc_mentions import DocMentions, align_mentions
from spacy_padellm.text.span_getters import make_strided_spans
from spacy_padellm.text.windows import make_windows


def place(doc: Doc, mentions: list[list[Mention]], size: int, step: int) -> DocMentions:
    windows = make_windows([doc], make_strided_spans(size, step), name="ner")
    assert len(windows) == len(mentions)
    [result] = align_mentions([doc], windows, mentions, dedup="on")
    return result


def test_doc_mentions_mention_in_the_overlap_counts_once() -> None:
    doc = NLP.make_doc("a b c Bob e f")
    bob = Mention("PER", 1, "Bob", 0.5)
    result = place(doc, [[bob], [bob]], 4, 2)
    assert [(s.start, s.end) for s in result.spans] == [(6, 9)]


def test_doc_mentions_mention_that_repeats_across_windows_counts_each_time() -> None:
    doc = NLP.make_doc("Bob b c d e Bob")
    bob = Mention("PER", 1, "Bob", 0.5)
    result = place(doc, [[bob], [bob]], 4, 3)
    assert [s.start for s in result.spans] == [0, 12]


def test_doc_mentions_mention_that_a_window_cuts_is_taken_whole_from_the_next() -> None:
    doc = NLP.make_doc("a b c Bank of Old Paris f g")
    cut = Mention("ORG", 1, "Bank of", 0.9)
    whole = Mention("ORG", 1, "Bank of Old Paris", 0.6)
    result = place(doc, [[cut], [whole], []], 5, 3)
    assert [doc.text[s.start : s.end] for s in result.spans] == [whole.text]
    other = Mention("LOC", 1, "Bank of Old Paris", 0.6)
    result = place(doc, [[cut], [other], []], 5, 3)
    assert [doc.text[s.start : s.end] for s in result.spans] == [cut.text]


def test_doc_mentions_mention_that_a_window_cuts_needs_no_part_of_it_there() -> None:
    doc = NLP.make_doc("a b c Bank of Old Paris f g")
    whole = Mention("ORG", 1, "Bank of Old Paris", 0.6)
    for elsewhere in ([], [Mention("PER", 1, "a", 0.9)]):
        result = place(doc, [elsewhere, [whole], []], 5, 3)
        assert doc.text[result.spans[-1].start : result.spans[-1].end] == whole.text


def test_doc_mentions_mention_that_no_window_cuts_is_up_to_its_own_window() -> None:
    doc = NLP.make_doc("a b c Bob e f g")
    bob = Mention("PER", 1, "Bob", 0.9)
    assert place(doc, [[], [bob]], 5, 3).spans == []


def test_doc_mentions_mention_inside_is_kept_beside_a_whole_one() -> None:
    doc = NLP.make_doc("a b Old Bank of Paris g")
    inner = Mention("PER", 1, "Old Bank", 0.9)
    whole = Mention("ORG", 1, "Old Bank of Paris", 0.9)
    result = place(doc, [[inner], [whole]], 5, 2)
    assert [doc.text[s.start : s.end] for s in result.spans] == ["Old Bank", whole.text]


def test_doc_mentions_nested_mention_is_kept_where_the_outer_one_goes_on() -> None:
    doc = NLP.make_doc("a b Old Bank of Paris g")
    inner, cut = (
        Mention("ORG", 1, "Old Bank", 0.9),
        Mention("ORG", 2, "Old Bank of", 0.9),
    )
    whole = Mention("ORG", 1, "Old Bank of Paris", 0.9)
    result = place(doc, [[inner, cut], [whole]], 5, 2)
    assert [doc.text[s.start : s.end] for s in result.spans] == ["Old Bank", whole.text]


def test_doc_mentions_mention_that_is_not_in_the_text_is_dropped() -> None:
    ghost = Mention("PER", 1, "Ghost", 0.5)
    result = place(NLP.make_doc("a b"), [[ghost]], 4, 4)
    assert (result.spans, result.dropped) == ([], [ghost])


@pytest.mark.parametrize(
    ("dedup", "labels"),
    [("on", ["LOC"]), ("reversed", ["PER"]), ("off", ["PER", "LOC"])],
)
def test_doc_mentions_dedup_is_done(dedup: Any, labels: list[str]) -> None:
    doc = NLP.make_doc("in Paris")
    windows = make_windows([doc], make_strided_spans(8, 8), name="ner")
    mentions = [Mention("PER", 1, "Paris", 0.4), Mention("LOC", 1, "Paris", 0.6)]
    [result] = align_mentions([doc], windows, [mentions], dedup=dedup)
    assert [s.label for s in result.spans] == labels


def test_doc_mentions_dedup_is_among_mentions_that_are_likely_enough() -> None:
    doc = NLP.make_doc("in Paris")
    windows = make_windows([doc], make_strided_spans(8, 8), name="ner")
    mentions = [Mention("PER", 1, "Paris", 0.4), Mention("LOC", 1, "Paris", 0.3)]
    [result] = align_mentions(
        [doc],
        windows,
        [mentions],
        dedup="on",
        passes_threshold=lambda m: m.label == "LOC",
    )
    assert [s.label for s in result.spans] == ["LOC"]


URL = "https://example.org/a/very/long/path/of/a/page.html"


def found_everywhere(doc: Doc, names: list[str], fits: Any) -> DocMentions:
    """Place names that each window with one of them has found, with other labels."""
    windows = make_windows([doc], make_strided_spans(12, 6), name="ner", fits=fits)
    mentions = [
        [
            Mention(f"L{number}", 1, name, 0.9)
            for name in names
            if name in window.text.split()
        ]
        for number, window in enumerate(windows)
    ]
    [result] = align_mentions([doc], windows, mentions, dedup="on")
    return result


def test_doc_mentions_overlap_with_a_long_token_has_one_label() -> None:
    doc = Doc(NLP.vocab, [*"abcdefg", URL, "Bob", *"hijklmn"])
    result = found_everywhere(doc, ["Bob"], lambda text: True)
    # windows 0 and 1 are parts of the first span, 2 and 3 of the second
    assert [(doc.text[s.start : s.end], s.label) for s in result.spans] == [
        ("Bob", "L1")
    ]


@given(
    st.lists(st.sampled_from(["a", "url", "Bob"]), min_size=14, max_size=40),
    st.sampled_from([30, 90, 1000]),
)
def test_doc_mentions_that_all_windows_found_count_once(
    kinds: list[str], longest: int
) -> None:
    words = [URL if kind == "url" else f"{kind}{i}" for i, kind in enumerate(kinds)]
    names = [word for word in words if word.startswith("Bob")]
    doc = Doc(NLP.vocab, words)
    result = found_everywhere(doc, names, lambda text: len(text) <= longest)
    assert [doc.text[s.start : s.end] for s in result.spans] == names


def test_doc_mentions_mention_that_goes_on_after_a_long_token_is_taken_whole() -> None:
    doc = Doc(NLP.vocab, [*"abcdefg", URL, "Bank", "of", "Old", "Paris", *"hijkl"])
    windows = make_windows([doc], make_strided_spans(10, 6), name="ner")
    cut, whole = "Bank of", "Bank of Old Paris"
    mentions = [
        [Mention("ORG", 1, next(m for m in (whole, cut) if m in window.text), 0.9)]
        if cut in window.text
        else []
        for window in windows
    ]
    assert [m.text for found in mentions for m in found] == [cut, whole]
    [result] = align_mentions([doc], windows, mentions, dedup="on")
    assert [doc.text[s.start : s.end] for s in result.spans] == [whole]
