"""Normalization of texts for the model."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from typing import Any
from unicodedata import combining, decomposition, normalize

import pytest
from helpers import DOC_SPANS, GOLD, LABELS, TEXT, gold_doc, initialised, trained
from hypothesis import given, strategies as st
from spacy.training import Example

from spacy_padellm.mention.mention import Mention
from spacy_padellm.text import normalize as module
from spacy_padellm.text.align import align
from spacy_padellm.text.normalize import (
    compose,
    normalize_characters,
    normalize_text,
    normalized_places,
)
from spacy_padellm.text.opening import ends_of_opening

NAME = "padellm_ner"
WRAPPED = "Anna  Smith\r\nmet Bob\u00a0in Paris ."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, TEXT),
        (WRAPPED, TEXT),
        (" a\tb\n", "a b "),
        ("Mer\u00adkel \u00ad in", "Merkel in"),
        ("Ｂｅｒｌｉｎ２０２４，（x）", "Berlin2024，（x）"),
        ("ｅ\u0301", "é"),
        (normalize("NFD", "Zoë"), "Zoë"),
        ("北\u3000京", "北 京"),
        ("a «b ‹C› d» e", "a \" b 'C' d\" e"),
        ("\ufeffin\u200b Bonn\u202c\u200e.", "in Bonn ."),
        ("\x00 Bo\x00\x07nn\x1bis\x9f \x7fok\x92", "Bo nn is ok "),
        ("👨\u200d👩 می\u200cخواهم", "👨\u200d👩 می\u200cخواهم"),
    ],
)
def test_normalize_has_single_spaces_and_composed_characters(
    text: str, expected: str
) -> None:
    assert normalize_text(text) == expected


@given(
    st.text(
        st.sampled_from("aëB('\",-.: \n\t\u00a0\u200b\ufeff\x00\x92\u00adｅ北e\u0308"),
        max_size=30,
    )
)
def test_normalize_twice_changes_nothing(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@given(
    st.lists(st.sampled_from(["ab", "(Zoe\u0308", "北", "ab,cd", "—"])),
    st.sampled_from(" \n\u00a0\u200b\x00"),
)
def test_normalize_words_keep_their_offsets(words: list[str], space: str) -> None:
    text = (space * 2).join(words)
    starts = accumulate((len(word) + 2 for word in words), initial=0)
    places = [(at, at + len(word)) for at, word in zip(starts, words, strict=False)]
    for word, (first, last) in zip(words, normalized_places(text, places), strict=True):
        assert normalize_text(text)[first:last] == normalize_text(word)


def places_by_definition(
    text: str, places: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """What `normalized_places` gives, from each cut's whole beginning of the text."""
    inserted = list(ends_of_opening(normalize_characters(text)))
    cuts = [
        tuple(len(normalize_characters(text[:cut])) for cut in place)
        for place in places
    ]
    return [
        (first + bisect_right(inserted, first), last + bisect_left(inserted, last))
        for first, last in cuts
    ]


@given(
    st.text(
        st.sampled_from(
            "aЖиإ\u0306\u0654 \u1112\u1161\u11ab하\u0915\u093c\u0958か\u3099ﾊ\uff9e"
            "\n\u200b\u00ad«Ａ(北½²\u212b\u0344\U00016d63\U00016d67"
        )
        | st.characters(exclude_categories=["Cs"]),
        max_size=12,
    ),
    st.data(),
)
def test_normalize_places_are_those_of_the_whole_text(
    text: str, data: st.DataObject
) -> None:
    cut = st.integers(0, len(text))
    places = data.draw(st.lists(st.tuples(cut, cut), max_size=4))
    assert normalized_places(text, places) == places_by_definition(text, places)


def test_normalize_fresh_characters_combine_with_none_before_them() -> None:
    characters = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable()]
    # Hangul is composed by rule: a vowel, and a final after it
    seconds = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for character in characters:
        parts = decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(chr(int(parts[1], 16)))
    for fresh in filter(module._FRESH.match, characters):
        first = normalize("NFD", fresh)[0]
        assert not combining(first), fresh
        assert first not in seconds, fresh


@pytest.mark.parametrize("word", ["Живёт", "한국", "Ζωή", "मुंबई", "ليبيا"])
def test_normalize_places_read_each_character_once(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [normalize("NFD", word)] * 200
    ends = list(accumulate(len(word) + 1 for word in words))
    read = 0

    def noting(text: str) -> str:
        nonlocal read
        read += len(text)
        return normalize_characters(text)

    monkeypatch.setattr(module, "normalize_characters", noting)
    normalized_places(" ".join(words), list(pairwise(ends)))
    assert read < 4 * ends[-1]


@pytest.mark.parametrize(
    "text", ["Zoe\u0308 met Bo (Bonn", "\u1100\u1161\u11a8 met Bo (Bonn"]
)
@pytest.mark.parametrize("cut", [1, 2])
def test_normalize_a_cut_in_a_character_moves_no_other_place(
    text: str, cut: int
) -> None:
    pieces = [
        (0, cut),
        *((text.index(w), text.index(w) + len(w)) for w in ("Bo", "Bonn")),
    ]
    _, *found = normalized_places(text, pieces)
    normalized = normalize_text(text)
    assert [normalized[start:end] for start, end in found] == ["Bo", "Bonn"]


def test_normalize_entities_do_not_depend_on_spaces() -> None:
    nlp = trained(span_getter=DOC_SPANS)
    plain, wrapped = nlp(TEXT), nlp(WRAPPED)
    assert [ent.label_ for ent in wrapped.ents] == [ent.label_ for ent in plain.ents]
    assert [ent.text for ent in wrapped.ents] == ["Anna  Smith", "Bob", "Paris"]
    assert wrapped.spans["padellm"].attrs["statuses"][0] == "normalised"


def test_normalize_training_does_not_depend_on_spaces() -> None:
    losses = []
    for text, first in ((TEXT, "Anna Smith"), (WRAPPED, "Anna  Smith")):
        prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"}
        nlp = initialised(
            labels=LABELS,
            span_getter=DOC_SPANS,
            prompt={**prompt, "prefix_lm": True},
            training={"@misc": "spacy-padellm.Training.v1", "tag_loss": 1.0},
        )
        mentions = [(first, "PER"), *GOLD[TEXT][1:]]
        example = Example(nlp.make_doc(text), gold_doc(nlp, text, mentions))
        losses.append(nlp.update([example])[NAME])
    assert losses[0] == losses[1]


# marks of several classes, characters of several marks, bases, jamo, half-width kana
MARKS = "\u0301\u0327\u0308\u0345\u0344\u0f71\u0f72\u0f73\u3099\u05b0\u034f\U0001d165"
OTHERS = "aeΐᾳかｶﾞﾟ가\u1100\u1161\u11a8\u31331½— \n"


@given(
    st.lists(st.text(MARKS, min_size=20, max_size=60) | st.text(MARKS + OTHERS)).map(
        "".join
    )
    | st.text()
)
@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_normalize_composes_as_python_does(form: Any, text: str) -> None:
    assert compose(text, form) == normalize(form, text)


def test_normalize_knows_all_marks() -> None:
    for number in range(sys.maxunicode + 1):
        apart = normalize("NFKD", chr(number))
        # all that a run of marks can consist of
        if combining(apart[0]) and combining(apart[-1]):
            assert module._MANY_MARKS.search(chr(number) * 32), hex(number)


@pytest.mark.parametrize(
    "marks", ["\u0301\u0327", "\u0344\u0327", "\u0f72\u0f71", "ﾞ\u0327"]
)
def test_normalize_gives_python_no_long_run_of_marks_without_order(
    marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(form: Any, text: str) -> str:
        if form.startswith("NFK") or "ﾞ" not in text:
            classes = [combining(char) for char in normalize("NFKD", text[:2000])]
            falls = sum(a > b > 0 for a, b in pairwise(classes))
            assert falls < 100, "takes quadratic time"
        return normalize(form, text)

    monkeypatch.setattr(module, "normalize", check)
    monkeypatch.setattr("spacy_padellm.text.align.normalize", check)
    text = "Anna a" + marks * 1000
    assert normalize_text(text) == normalize("NFC", text)
    found = Mention("PER", 1, "anna", 0.9)
    (aligned,) = align([found], text, starts=[0], ends=[4])
    assert (aligned.start, aligned.end) == (0, 4)
