"""From the mentions of windows to those of a Doc."""

from __future__ import annotations

from typing import Any

import pytest
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
