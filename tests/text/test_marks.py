"""Mentions without the marks that do not belong to them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.text.marks import without_marks


def at(start: int, end: int, label: str = "LOC", score: float = 0.9) -> ScoredSpan:
    return ScoredSpan(start, end, label, score, "exact")


def strings(text: str, *mentions: str) -> list[str]:
    placed = [at(text.index(s), text.index(s) + len(s)) for s in mentions]
    return [text[m.start : m.end] for m in without_marks(placed, text)]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("in *Berlin* now", "*Berlin"),
        ("in _Berlin_ now", "Berlin_"),
        ("in (Berlin) now", "(Berlin"),
        ("in (\n Berlin) now", "(\n Berlin"),
        ("in «Berlin » now", "Berlin »"),
        ("in “Berlin” now", "Berlin”"),
        ("*Berlin*", "*Berlin"),
    ],
)
def test_marks_of_a_pair_are_removed_where_the_other_is_outside(
    text: str, mention: str
) -> None:
    assert strings(text, mention) == ["Berlin"]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("in *Berlin* now", "*Berlin*"),
        ("in *Berlin now", "*Berlin"),
        ("in U.S. now", "U.S."),
        ("(Congress (INC))", "Congress (INC)"),
        ('he is "Big" Joe" now', '"Big" Joe'),
        ("by 'Til Tuesday's fans", "'Til Tuesday"),
        ("in #Berlin# now", "#Berlin"),
        ("a ** b", "*"),
        ("a * * b", "* "),
    ],
)
def test_marks_of_the_mention_stay(text: str, mention: str) -> None:
    assert strings(text, mention) == [mention]


def test_marks_beside_a_name_of_their_label_are_left_out() -> None:
    assert strings("★ Berlin", "★", "Berlin") == ["Berlin"]
    assert strings("of Berlin ** and", "**", "Berlin") == ["Berlin"]
    assert strings("=Berlin", "=", "Berlin") == ["Berlin"]


@pytest.mark.parametrize(
    ("text", "mark", "name"),
    [
        ("★★★ in Berlin", "★★★", "Berlin"),
        ("★ ☆", "★", "☆"),
        ("$ 5", "$", "5"),
        ("🇩🇪 Germany", "🇩🇪", "Germany"),
        (":) :D", ":)", ":D"),
    ],
)
def test_marks_that_can_be_names_are_mentions(text: str, mark: str, name: str) -> None:
    assert strings(text, mark, name) == [mark, name]


def test_marks_beside_a_name_of_another_label_are_mentions() -> None:
    placed = [at(0, 1, "MARK"), at(2, 8)]
    assert without_marks(placed, "= Berlin") == placed


def test_marks_between_letters_are_left_out() -> None:
    assert strings("Lyon-Turin, now", "-") == []
    assert strings("Orle\u0301-Lyon", "-") == []
    assert strings("in Lyon - Turin", "-") == ["-"]
    assert strings("a+b", "+") == ["+"]


def test_marks_inside_a_name_of_their_label_are_left_out() -> None:
    name = at(3, 12)
    placed = [at(0, 2), at(6, 7), name, at(14, 16)]
    kept = [at(0, 2), name, at(14, 16)]
    assert without_marks(placed, "an Ab & Cdef, of") == kept


def test_marks_inside_a_name_of_another_label_are_mentions() -> None:
    placed = [at(0, 2, "QUANTITY"), at(1, 2, "UNIT")]
    assert without_marks(placed, "5% of") == placed


def test_marks_removed_from_equal_mentions_leave_the_likeliest() -> None:
    placed = [at(3, 10, score=0.5), at(4, 10, score=0.8), at(4, 10, "ORG")]
    found = without_marks(placed, "in *Berlin* now")
    assert found == [at(4, 10, score=0.8), at(4, 10, "ORG")]


@given(st.text("aB*_( )'", min_size=1, max_size=12), st.data())
def test_marks_leave_mentions_inside_of_what_they_were(
    text: str, data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    pairs = data.draw(st.lists(places.filter(lambda p: p[0] < p[1]), max_size=4))
    found = without_marks([at(a, b) for a, b in pairs], text)
    for mention in found:
        assert any(a <= mention.start < mention.end <= b for a, b in pairs)
    names = {text[a:b].strip("*_( )'") for a, b in pairs}
    assert {text[m.start : m.end].strip("*_( )'") for m in found} >= names - {""}
