"""Mentions without the marks that do not belong to them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.mention.mention import Mention
from spacy_padellm.text.align import AlignedMention
from spacy_padellm.text.marks import without_marks


def at(start: int, end: int, label: str = "LOC") -> AlignedMention:
    return AlignedMention(Mention(label, 1, "x", 1.0), start, end, "exact")


def strings(text: str, *mentions: str) -> list[str]:
    placed = [at(text.index(s), text.index(s) + len(s)) for s in mentions]
    return [text[m.start : m.end] for m in without_marks(placed, text)]


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("in *Berlin* now", "*Berlin"),
        ("in _Berlin_ now", "Berlin_"),
        ("in (Berlin) now", "(Berlin"),
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
        ("in #Berlin# now", "#Berlin"),
        ("a ** b", "*"),
    ],
)
def test_marks_of_the_mention_stay(text: str, mention: str) -> None:
    assert strings(text, mention) == [mention]


def test_marks_beside_a_name_of_their_label_are_left_out() -> None:
    assert strings("★ Berlin", "★", "Berlin") == ["Berlin"]
    assert strings("of Berlin ★★ and", "★★", "Berlin") == ["Berlin"]
    assert strings("=Berlin", "=", "Berlin") == ["Berlin"]


def test_marks_that_stand_alone_are_mentions() -> None:
    assert strings("★★★ in Berlin", "★★★", "Berlin") == ["★★★", "Berlin"]
    assert strings("★ ☆", "★", "☆") == ["★", "☆"]
    placed = [at(0, 1, "PRICE"), at(2, 8)]
    assert without_marks(placed, "€ Berlin") == placed


def test_marks_of_dropped_mentions_are_not_looked_for() -> None:
    dropped = AlignedMention(Mention("LOC", 1, "*", 1.0), None, None, "dropped")
    assert without_marks([dropped, at(0, 6)], "Berlin") == [dropped, at(0, 6)]


@given(st.text("aB*_( )", min_size=1, max_size=12), st.data())
def test_marks_leave_mentions_inside_of_what_they_were(
    text: str, data: st.DataObject
) -> None:
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    pairs = data.draw(st.lists(places.filter(lambda p: p[0] < p[1]), max_size=4))
    found = without_marks([at(a, b) for a, b in pairs], text)
    for mention in found:
        assert mention.start is not None
        assert mention.end is not None
        assert any(a <= mention.start < mention.end <= b for a, b in pairs)
    named = [p for p in pairs if any(map(str.isalnum, text[p[0] : p[1]]))]
    assert len(found) >= len(named)
