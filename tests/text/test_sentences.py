"""Where sentences begin."""

from __future__ import annotations

import pytest
import spacy
from hypothesis import given, strategies as st

from spacy_padellm.text.sentences import sentence_starts

NLP = spacy.blank("en")


def sentences(text: str, *, lang: str = "en") -> list[str]:
    doc = spacy.blank(lang).make_doc(text)
    starts = sentence_starts(doc)
    ends = [*starts[1:], len(doc)]
    return [doc[a:b].text for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Anna left.", "Bob stayed!", "But why?", "Nobody knows"],
        [
            "They heard Sgt. Pepper near Ft. Worth.",
            "Shares of Yahoo! Inc. fell.",
            "So.",
        ],
        ["„Ja gut.“", "Dann ging er."],
        ["वह गया।", "वह आया।"],
        ["Dr. Smith of St. Louis met J. K. Rowling.", "She left."],
        ["Yahoo! is a company.", "So is it ... said the man.", "1996 was better."],
        ["He said “go.”", "“But why?”", '"I stay."', "(She left.)", "That was all."],
        ["It opened on 3 . May and 12 . January.", "That was in 1996.", "The end."],
        ["So what?!", "Oh no!!! ...", "Oh yes..."],
        ["Do not call me.", "It was Obama…", "So he said."],
    ],
)
def test_sentences_end_at_punctuation(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_sentences_end_at_the_punctuation_of_chinese() -> None:
    expected = ["我在IBM。", "你呢？", "他说“好。”", "再见！"]
    assert sentences("".join(expected), lang="zh") == expected


def test_sentences_take_the_whitespace_after_them() -> None:
    assert sentences("He left.\n\nShe did not.") == ["He left.\n\n", "She did not."]


@given(st.text(alphabet="aB1 .?!\"')…。\n", max_size=40))
def test_sentences_first_one_begins_the_text(text: str) -> None:
    doc = NLP.make_doc(text)
    starts = sentence_starts(doc)
    assert starts[:1] == [0][: len(doc)]
    assert starts == sorted({*starts} & {*range(len(doc))})
