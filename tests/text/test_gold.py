"""Gold texts of examples: the offsets of their mentions in the predicted Doc."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given, strategies as st
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry

from spacy_padellm.mention.gold import GoldText
from spacy_padellm.text import gold
from spacy_padellm.text.gold import (
    check_get_examples,
    gold_labels,
    gold_text,
    gold_texts,
)
from spacy_padellm.text.normalize import normalize_text
from spacy_padellm.text.span_getters import make_strided_spans
from spacy_padellm.text.windows import Window, make_windows

NLP = spacy.blank("en")
WORDS = ["(", "Paris", ",", "France", ")", "met", "Rome", "."]
TAGS = ["O", "U-LOC", "O", "U-LOC", "O", "O", "U-LOC", "O"]


def gold_of(example: Example) -> GoldText:
    (gold,) = gold_texts(
        [example],
        partial(make_windows, span_getter=make_strided_spans(100, 100), name="ner"),
        spans_key="padellm",
        check_labels=lambda labels: None,
    )
    return gold


def read_as(text: str, words: list[str], tags: list[str], **more: Any) -> GoldText:
    facts = {"words": words, "entities": tags, **more}
    return gold_of(Example.from_dict(NLP.make_doc(text), facts))


def places(gold: GoldText) -> list[tuple[str, str]]:
    return [(gold.text[start:end], label) for start, end, label in gold.spans]


@pytest.mark.parametrize("text", ["(Paris, France) met Rome.", " ".join(WORDS)])
def test_gold_words_without_spaces_are_aligned(text: str) -> None:
    gold = read_as(text, WORDS, TAGS)
    assert gold.text == normalize_text(text)
    assert gold.mentions == {"LOC": ["Paris", "France", "Rome"]}
    assert places(gold) == [("Paris", "LOC"), ("France", "LOC"), ("Rome", "LOC")]


def test_gold_mention_inside_a_token_is_no_longer_than_it_is() -> None:
    gold = read_as("a Paris-based firm", ["a", "Paris", "-based", "firm"], ["O"] * 4)
    assert places(gold) == []
    tags = ["O", "U-LOC", "O", "O"]
    gold = read_as("a Paris-based  firm", ["a", "Paris", "-based", "firm"], tags)
    assert places(gold) == [("Paris", "LOC")]


@pytest.mark.parametrize("text", ["HE MET PARIS.", "he met Paris.", "he met paris ."])
def test_gold_of_another_case_is_aligned(text: str) -> None:
    gold = read_as(text, ["He", "met", "Paris", "."], ["O", "O", "U-LOC", "O"])
    assert [string.lower() for string, _ in places(gold)] == ["paris"]


def test_gold_letter_that_becomes_two_is_aligned_by_tokens() -> None:
    gold = read_as("i̇n Paris", ["İn", "Paris"], ["O", "U-LOC"])
    assert places(gold) == [("Paris", "LOC")]


def test_gold_of_another_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="E949"):
        read_as("he met Rome .", ["he", "saw", "Rome", "."], ["O", "O", "U-LOC", "O"])


SPACES = st.lists(st.booleans(), min_size=8, max_size=8)


@given(SPACES, SPACES)
def test_gold_mentions_do_not_depend_on_spaces(
    predicted_spaces: list[bool], gold_spaces: list[bool]
) -> None:
    reference = Doc(NLP.vocab, words=WORDS, spaces=gold_spaces)
    reference.set_ents([Span(reference, i, i + 1, "LOC") for i in (1, 3, 6)])
    predicted = Doc(NLP.vocab, words=WORDS, spaces=predicted_spaces)
    gold = gold_of(Example(predicted, reference))
    assert gold.mentions == {"LOC": ["Paris", "France", "Rome"]}
    assert places(gold) == [("Paris", "LOC"), ("France", "LOC"), ("Rome", "LOC")]


def test_gold_mentions_over_quoted_lines_are_without_the_marks() -> None:
    doc = NLP.make_doc("> met him in New\n> York with Anna")
    span = doc.char_span(13, 23, label="LOC")
    gold = doc.copy()
    gold.set_ents([span])
    found = gold_of(Example(doc, gold))
    assert found.mentions == {"LOC": ["New York"]}
    assert places(found) == [("New York", "LOC")]


def test_gold_mention_is_without_marks_at_its_edges_that_are_not_seen() -> None:
    doc = NLP.make_doc("They met in (\u200bNew York\u200b) on Monday.")
    words = [token.text for token in doc]
    first = words.index("\u200bNew")
    doc.set_ents([Span(doc, first, first + 2, "LOC")])
    gold = gold_of(Example(NLP.make_doc(doc.text), doc))
    assert gold.text == "They met in ( New York ) on Monday."
    assert gold.mentions == {"LOC": ["New York"]}
    assert places(gold) == [("New York", "LOC")]


@pytest.mark.parametrize("word", ["\u200b", "\n"])
def test_gold_mention_of_nothing_that_is_seen_is_left_out(word: str) -> None:
    doc = Doc(NLP.vocab, ["They", word, "met", "."])
    doc.spans["padellm"] = [Span(doc, 1, 2, "LOC")]
    gold = gold_of(Example(NLP.make_doc(doc.text), doc))
    assert gold.mentions == {}


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("他唱“Shape of You”。", "“Shape of You”"),
        ('a title/"Les Mis" here', '"Les Mis"'),
        ("the R&B/*NSYNC fans", "*NSYNC"),
    ],
)
def test_gold_mentions_that_begin_with_a_mark_are_cut_from_the_text(
    text: str, mention: str
) -> None:
    start = text.index(mention)
    words = [text[:start], mention, text[start + len(mention) :]]
    doc, gold = (Doc(NLP.vocab, words, spaces=[False] * 3) for _ in range(2))
    gold.set_ents([Span(gold, 1, 2, "MISC")])
    read = gold_of(Example(doc, gold))
    assert read.mentions == {"MISC": [mention]}
    assert places(read) == [(mention, "MISC")]


def test_gold_of_a_long_text_takes_linear_time() -> None:
    # as a quadratic search it would take minutes
    words = ["(", "Bonn", ")"] * 15_000
    doc = Doc(NLP.vocab, words, spaces=[False, False, True] * 15_000)
    gold = Doc(NLP.vocab, words, spaces=[False, False, True] * 15_000)
    gold.set_ents([Span(gold, i, i + 1, "LOC") for i in range(1, len(words), 3)])
    window = Window(0, doc[:], doc.text, 0, (0, len(doc.text)))
    offsets = [(ent.start_char, ent.end_char, ent.label_) for ent in gold.ents]
    read = gold_text(window, offsets)
    assert set(read.mentions["LOC"]) == {"Bonn"}
    assert len(places(read)) == 15_000


def test_gold_missing_file_of_the_training_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.spacy"
    corpus = registry.readers.get("spacy.Corpus.v1")(path, gold_preproc=False)
    with pytest.raises(ValueError, match=rf"no file {path}, .*--paths\.train"):
        check_get_examples(lambda: corpus(NLP), "initialize")


def test_gold_labels_are_in_the_order_of_the_examples() -> None:
    # those of all examples before are not copied for each one
    docs = [Doc(NLP.vocab, ["Paris"]) for _ in range(3)]
    for doc, label in zip(docs, "BCA", strict=True):
        doc.set_ents([Span(doc, 0, 1, label)])
    found = gold_labels(
        [Example(Doc(NLP.vocab, ["Paris"]), doc) for doc in [*docs, docs[0]]],
        name="ner",
        known=(),
        spans_key="padellm",
        resolve_labels=lambda labels: {},
    )
    assert list(found.items()) == [("B", "B"), ("C", "C"), ("A", "A")]


@pytest.mark.parametrize("cut", [True, False])
def test_gold_mention_that_no_window_holds_is_warned_of_once(
    cut: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gold, "_warned", set())
    words = ["a", "Bank", "of", "Old", "Paris", "b", "Rome"]
    tags = ["O", "B-ORG", "I-ORG", "I-ORG", "L-ORG", "O", "U-LOC"]
    doc = NLP.make_doc(" ".join(words))
    example = Example.from_dict(doc, {"words": words, "entities": tags})
    windows = make_strided_spans(4, 3 if cut else 1)
    for _ in range(2):
        gold_texts(
            [example],
            partial(make_windows, span_getter=windows, name="ner"),
            spans_key="padellm",
            check_labels=lambda labels: None,
        )
    expected = ["'Bank of Old Paris' whole"] if cut else []
    assert [x for r in caplog.records for x in expected if x in r.message] == expected
    assert len(caplog.records) == len(expected)
