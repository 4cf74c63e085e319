"""Windows and what each of them owns."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import spacy
from hypothesis import given, strategies as st
from spacy.tokens import Doc, Span

from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.span_getters import (
    SpanGetter,
    default_span_getter,
    make_doc_spans,
    make_sentence_spans,
    make_strided_spans,
)
from spacy_padellm.text.windows import Window, make_windows

NLP = spacy.blank("en")


@pytest.mark.parametrize(("lang", "windows"), [("en", 3), ("zh", 1)])
def test_windows_by_default_are_of_as_much_text(lang: str, windows: int) -> None:
    doc = Doc(spacy.blank(lang).vocab, [f"w{i}" for i in range(100)])
    assert len(make_windows([doc], default_span_getter(lang), name="ner")) == windows


def sentence_windows(text: str, *, joined: int) -> list[str]:
    getter = make_sentence_spans(6, 4, joined)
    windows = make_windows([NLP.make_doc(text)], getter, name="ner")
    return [window.text for window in windows]


@pytest.mark.parametrize(
    ("joined", "expected"),
    [
        (0, ["A left.", "B left.", "C left."]),
        (5, ["A left.", "B left.", "C left."]),
        (6, ["A left. B left.", "C left."]),
    ],
)
def test_windows_of_sentences_are_joined_up_to_a_size(
    joined: int, expected: list[str]
) -> None:
    assert sentence_windows("A left. B left. C left.", joined=joined) == expected


def test_windows_of_a_long_sentence_overlap() -> None:
    expected = ["A left.", "B c d e f g", "f g h i ja .", "K left."]
    text = "A left. B c d e f g h i ja . K left."
    assert sentence_windows(text, joined=4) == expected


def test_windows_of_a_short_doc_are_one() -> None:
    assert sentence_windows("A left! B.", joined=6) == ["A left! B."]


@given(
    st.lists(st.sampled_from(["a", "B", ".", "?", '"']), max_size=40),
    st.integers(1, 6),
    st.data(),
)
def test_windows_of_sentences_cover_each_token_once_or_in_an_overlap(
    words: list[str], window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    joined = data.draw(st.integers(0, window))
    doc = Doc(NLP.vocab, words)
    [spans] = make_sentence_spans(window, stride, joined)([doc])
    assert {i for span in spans for i in range(span.start, span.end)} == {
        *range(len(words))
    }
    assert all(1 <= len(span) <= window for span in spans)
    assert all(
        a.start < b.start and a.end < b.end for a, b in itertools.pairwise(spans)
    )


@pytest.mark.parametrize("joined", [-1, 7, 2.5])
def test_windows_of_sentences_joined_to_more_than_a_window_are_refused(
    joined: Any,
) -> None:
    with pytest.raises(ValueError, match="from 0 to the window"):
        make_sentence_spans(6, 4, joined)


def strided(doc: Doc, window: int, stride: int) -> list[Window]:
    return make_windows([doc], make_strided_spans(window, stride), name="ner")


def words(count: int) -> Doc:
    return NLP.make_doc(" ".join(f"w{i}" for i in range(count)))


@pytest.mark.parametrize("count", [1, 5, 6, 7, 8, 11, 12, 13, 40])
@pytest.mark.parametrize(("window", "stride"), [(8, 6), (6, 6), (8, 1)])
def test_windows_each_character_is_in_one_start_range(
    count: int, window: int, stride: int
) -> None:
    doc = words(count)
    ranges = [w.start_range for w in strided(doc, window, stride)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(doc.text)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize("count", [5, 12, 13, 40])
def test_windows_start_range_is_inside_the_window(count: int) -> None:
    for window in strided(words(count), 8, 6):
        assert window.start <= window.start_range[0]
        assert window.start_range[1] <= window.start + len(window.text) + 1


def test_windows_overlap_is_parted_in_its_middle() -> None:
    doc = words(12)
    first, second = strided(doc, 8, 4)[:2]
    assert first.start_range[1] == second.start_range[0] == doc[6].idx


def test_windows_text_is_the_docs_from_its_start() -> None:
    doc = words(20)
    for window in strided(doc, 8, 6):
        end = window.start + len(window.text)
        assert window.text == doc.text[window.start : end] == window.span.text


@pytest.mark.parametrize("text", ["", " ", "\n\n \t"])
def test_windows_empty_doc_has_none(text: str) -> None:
    assert make_windows([NLP.make_doc(text)], make_doc_spans(), name="ner") == []


def test_windows_empty_docs_do_not_shift_the_indices_of_others() -> None:
    docs = [NLP.make_doc(text) for text in ("", "one", "  ", "two")]
    windows = make_windows(docs, make_doc_spans(), name="ner")
    assert [(w.doc, w.text) for w in windows] == [(1, "one"), (3, "two")]


def test_windows_whitespace_piece_is_left_out() -> None:
    doc = Doc(NLP.vocab, words=["a", "\n", "b"], spaces=[False] * 3)
    windows = strided(doc, 1, 1)
    assert [w.text for w in windows] == ["a", "b"]


def test_windows_sentences_follow_each_other() -> None:
    doc = Doc(NLP.vocab, words=list("ab.cd."), sent_starts=[1, 0, 0, 1, 0, 0])
    windows = make_windows(
        [doc], lambda docs: [list(doc.sents) for doc in docs], name="ner"
    )
    assert [w.text for w in windows] == ["a b .", "c d ."]
    assert windows[0].start_range[1] == windows[1].start_range[0] == doc[3].idx


def test_windows_gap_between_pieces_is_owned_by_the_first() -> None:
    doc = Doc(NLP.vocab, words=["a", "b", "c", *"\n" * 4, "d", "e", "f"])

    def ends(docs: list[Doc]) -> list[list[Span]]:
        return [[doc[:3], doc[7:]] for doc in docs]

    first, second = make_windows([doc], ends, layout="ignore", name="ner")
    assert first.start_range == (0, doc[7].idx)
    assert second.start_range == (doc[7].idx, len(doc.text))


def test_windows_leave_out_endless_tokens() -> None:
    doc = NLP.make_doc(f"Paris is here {'x' * 5000} and Rome there")
    texts = [window.text for window in strided(doc, 6, 4)]
    assert all(len(text) < 100 for text in texts)
    assert {"Paris is here", "and Rome there"} <= {text.strip() for text in texts}


@pytest.mark.parametrize(("window", "stride"), [(4, 6), (-1, 1), (0, 1), (3, 0)])
def test_windows_that_leave_out_text_are_reported(window: int, stride: int) -> None:
    span_getters = pytest.importorskip("spacy_transformers.span_getters")
    getter = span_getters.configure_strided_spans(window, stride)
    with pytest.raises(ValueError, match=r"Correct \[components\.ner\.span_getter\]"):
        make_windows([words(12)], getter, name="ner")


def test_windows_that_leave_out_text_name_it() -> None:
    doc = words(12)
    with pytest.raises(ValueError, match="'w4 w5'"):
        make_windows([doc], lambda docs: [[doc[:4], doc[6:]]], name="ner")


def test_windows_may_leave_out_whitespace_tokens() -> None:
    doc = Doc(NLP.vocab, words=["\n", "a", " \n", "b", "\n"])
    pieces = [doc[1:2], doc[3:4]]
    windows = make_windows([doc], lambda docs: [pieces], layout="ignore", name="ner")
    assert [w.text for w in windows] == ["a", "b"]


@given(st.integers(0, 100), st.integers(1, 20), st.integers(1, 20))
def test_windows_strided_as_those_of_spacy_transformers(
    count: int, window: int, stride: int
) -> None:
    span_getters = pytest.importorskip("spacy_transformers.span_getters")
    stride = min(stride, window)
    docs = [words(count)]
    expected = span_getters.configure_strided_spans(window, stride)(docs)
    found = make_strided_spans(window, stride)(docs)
    assert [[(s.start, s.end) for s in spans] for spans in found] == [
        [(s.start, s.end) for s in spans] for spans in expected
    ]


@pytest.mark.parametrize(
    ("window", "stride"), [(8, 0), (8, 9), (0, 0), ("8", 4), (8, 4.0)]
)
def test_windows_strides_that_leave_out_tokens_are_refused(
    window: int, stride: int
) -> None:
    with pytest.raises(ValueError, match="at most the window"):
        make_strided_spans(window, stride)


# Layout


def test_windows_begin_anew_after_a_break_of_the_layout() -> None:
    doc = NLP.make_doc("Anna Smith\n\nBob Jones of Oslo\tRome")
    assert [w.text for w in strided(doc, 3, 2)] == [
        "Anna Smith",
        "Bob Jones of",
        "of Oslo",
        "Rome",
    ]


def test_windows_of_sections_cover_each_character_once() -> None:
    doc = NLP.make_doc("\n\nAnna Smith\n\n\tBob Jones of Oslo\n\n Rome \n\n")
    windows = strided(doc, 3, 2)
    ranges = [w.start_range for w in windows]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(doc.text)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    for window in windows:
        assert doc.text[window.start :].startswith(window.text)


def merged(text: str, *parts: tuple[int, int]) -> Doc:
    doc = NLP.make_doc(text)
    with doc.retokenize() as retokenizer:
        for start, end in parts:
            retokenizer.merge(doc[start:end])
    return doc


def test_windows_break_inside_a_token_splits_nothing() -> None:
    doc = merged("Anna\n\nBob sleeps\n\nRome", (0, 3))
    windows = make_windows([doc], make_doc_spans(), name="ner")
    assert [(w.text, w.start_range) for w in windows] == [
        ("Anna\n\nBob sleeps", (0, 18)),
        ("Rome", (18, 22)),
    ]


@pytest.mark.parametrize("part", [(0, 2), (1, 3)])
def test_windows_break_at_the_edge_of_a_token_leaves_out_none(
    part: tuple[int, int],
) -> None:
    doc = merged("Anna\n\nBob sleeps", part)
    windows = make_windows([doc], make_doc_spans(), name="ner")
    tokens = [token.text for w in windows for token in w.span]
    assert [t for t in tokens if t.strip()] == [t.text for t in doc if t.text.strip()]


@given(
    st.lists(st.sampled_from(["Anna", "\n\n", "\t", "-", "\n> a", " "]), max_size=12),
    st.data(),
)
def test_windows_of_any_tokens_hold_each_of_them(
    pieces: list[str], data: st.DataObject
) -> None:
    words = [
        "".join(group)
        for _, group in itertools.groupby(
            pieces, key=lambda _: data.draw(st.integers(0, 1))
        )
    ]
    doc = Doc(NLP.vocab, words, spaces=[False] * len(words))
    windows = make_windows([doc], make_doc_spans(), name="ner")
    held = [
        token.i
        for window in windows
        for token in window.span
        if window.start_range[0] <= token.idx < window.start_range[1]
    ]
    assert len(held) == len(set(held))
    assert {t.i for t in doc if any(map(str.isalpha, t.text))} <= set(held)


def test_windows_layout_can_be_ignored() -> None:
    doc = NLP.make_doc("Anna Smith\n\nBob Jones")
    (window,) = make_windows([doc], make_doc_spans(), layout="ignore", name="ner")
    assert window.text == doc.text


GETTERS: dict[str, SpanGetter] = {
    "groups": lambda docs: [list(doc.spans["parts"]) for doc in docs],
    "user_data": lambda docs: [[doc[: doc.user_data["parts"]]] for doc in docs],
}


@pytest.mark.parametrize("kind", sorted(GETTERS))
def test_windows_getter_that_needs_the_whole_doc_is_told_the_setting(kind: str) -> None:
    doc = NLP.make_doc("Anna Smith\n\nBob Jones")
    doc.spans["parts"], doc.user_data["parts"] = [doc[:]], len(doc)
    with pytest.raises(ValueError, match=r"'parts'.* layout = \"ignore\" in \[comp"):
        make_windows([doc], GETTERS[kind], name="ner")
    (window,) = make_windows([doc], GETTERS[kind], name="ner", layout="ignore")
    assert window.text == doc.text


def test_windows_getter_that_has_all_of_the_doc_fails_by_its_own_error() -> None:
    with pytest.raises(KeyError, match="parts"):
        make_windows([NLP.make_doc("Anna")], GETTERS["groups"], name="ner")


def test_windows_of_sentences_are_those_of_the_section() -> None:
    doc = Doc(NLP.vocab, words=["a", ".", "\n\n", "b", ".", "c"])
    for token in doc:
        token.is_sent_start = token.i in {0, 3, 5}
    windows = make_windows(
        [doc], lambda docs: [list(doc.sents) for doc in docs], name="ner"
    )
    assert [w.text.strip() for w in windows] == ["a .", "b .", "c"]


# Texts that do not fit


@given(
    words=st.lists(st.sampled_from(["a", "bb", "c" * 30, ".", "\n"]), max_size=40),
    limit=st.integers(1, 20),
)
def test_windows_fit_and_leave_out_only_tokens_that_do_not(
    words: list[str], limit: int
) -> None:
    doc = Doc(NLP.vocab, words=words)
    windows = make_windows(
        [doc] if words else [],
        make_doc_spans(),
        layout="ignore",
        fits=lambda text: len(text) <= limit,
        name="ner",
    )
    assert all(len(normalize_text(window.text)) <= limit for window in windows)
    kept = " ".join(window.text for window in windows).split()
    assert kept == [word for word in words if len(word) <= limit and word.strip()]


def test_windows_that_do_not_fit_are_cut_where_a_sentence_ends() -> None:
    doc = NLP.make_doc("one two three four . five six seven eight nine")
    windows = make_windows(
        [doc], make_doc_spans(), fits=lambda text: len(text) < 40, name="ner"
    )
    assert [w.text.strip() for w in windows] == [
        "one two three four .",
        "five six seven eight nine",
    ]


def test_windows_token_that_does_not_fit_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_padellm.text.windows._warned", set())
    monkeypatch.setattr("spacy_padellm.text.unsplit.warned", set())
    for text in ("Paris " + "x" * 300, "Rome " + "y" * 400):
        make_windows([NLP.make_doc(text)], make_doc_spans(), name="ner")
    (record,) = caplog.records
    assert "300 characters is left out" in record.message
    assert "spacy.blank('th')" in record.message


@pytest.mark.parametrize(
    "token",
    [
        f"https://example.org/{'a9-x' * 20}",
        "a3f9" * 30,
        f"{'QWxhZGRpbjE2' * 9}==",
        "สมชายเดินทางไปกรุงเทพมหานคร" * 6,
    ],
)
def test_windows_names_beside_a_long_token_are_read_without_it(token: str) -> None:
    doc = NLP.make_doc(f"Anna Smith lives in Oslo. {token} Bob Jones")
    windows = make_windows([doc], make_doc_spans(), name="ner")
    assert [w.text.strip() for w in windows] == [
        "Anna Smith lives in Oslo.",
        "Bob Jones",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Donaudampfschifffahrtselektrizitätenwerk",
        "www.bbc.co.uk",
        "a" * 90,
    ],
)
def test_windows_long_words_may_be_names(name: str) -> None:
    doc = NLP.make_doc(f"He works for {name} in Oslo and has done so for many years.")
    (window,) = make_windows([doc], make_doc_spans(), name="ner")
    assert name in window.text


def test_windows_marks_of_quoted_lines_are_spaces_at_the_same_offsets() -> None:
    text = "She wrote to Bob Jones on Monday:\n> I visited him in New\n> York\n>\n> Bob"
    windows = make_windows([NLP.make_doc(text)], make_doc_spans(), name="ner")
    read = [normalize_text(window.text) for window in windows]
    assert read == [
        "She wrote to Bob Jones on Monday:",
        "I visited him in New York",
        "Bob",
    ]
    place = text.index("New")
    assert windows[1].text[place - windows[1].start :] == "New\n  York"


def test_windows_marks_of_quoted_lines_alone_are_no_window() -> None:
    (window,) = strided(NLP.make_doc("> Anna"), 1, 1)
    assert (window.text, window.start) == ("Anna", 2)


def test_windows_marks_of_quoted_lines_are_kept_if_the_layout_is_ignored() -> None:
    doc = NLP.make_doc("> Anna\n> Smith")
    (window,) = make_windows([doc], make_doc_spans(), name="ner", layout="ignore")
    assert window.text == doc.text
