"""Spaces between marks and the words after them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.text.opening import ends_of_opening, space_after_opening


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in (Berlin)", "in ( Berlin)"),
        ('"Berlin," he said', '" Berlin," he said'),
        ("“Берлин” ‘Rome’ 'J. Smith'", "“ Берлин” ‘ Rome’ ' J. Smith'"),
        ("**Berlin** *Rome*", "** Berlin** * Rome*"),
        ("-Lisbon\n•Oslo", "- Lisbon\n• Oslo"),
        ("'NATO' ‘Łódź’ -EU 'Čapek", "' NATO' ‘ Łódź’ -EU ' Čapek"),
        ('("Émile")', '(" Émile")'),
        ("_Berlin_ `Rome` <Oslo> =Bonn", "_ Berlin _ ` Rome` < Oslo> = Bonn"),
        ("★Berlin 🎉Rome →Oslo &Sons", "★ Berlin 🎉 Rome → Oslo & Sons"),
        ("**_John Smith_**", "**_ John Smith _**"),
        ("__Berlin__, a_b_ c_d", "__ Berlin __, a_b _ c_d"),
    ],
)
def test_opening_marks_get_a_space_before_the_word(text: str, expected: str) -> None:
    assert space_after_opening(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,Berlin|Rome", "a, Berlin| Rome"),
        ("so—Berlin--Rome...Oslo", "so— Berlin-- Rome... Oslo"),
        ('"city":"Berlin","to":["Rome"]', '" city":" Berlin"," to":[" Rome"]'),
        ("City:Berlin", "City: Berlin"),
        ("City=Berlin x=1", "City= Berlin x=1"),
    ],
)
def test_opening_marks_between_words_get_a_space_after_them(
    text: str, expected: str
) -> None:
    assert space_after_opening(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Apple Inc., Ford Co.,Ltd.", "Apple Inc. , Ford Co. , Ltd."),
        ("the U.S.'s, Acme Ltd.’s", "the U.S. 's, Acme Ltd. ’s"),
        ("Dr.,", "Dr. ,"),
    ],
)
def test_opening_full_stop_of_a_word_gets_a_space_before_comma_and_clitic(
    text: str, expected: str
) -> None:
    assert space_after_opening(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Inc.; Inc.) Inc.: Inc.\" Yahoo!, 1.,2 wait.., .'some U.S.-based Inc.",
        "#Berlin @berlin $AAPL .com _x <b> /etc &amp x=y ~user Q&A <Bob@Acme.org>",
        "John 's 'tis rock 'n' roll, THEY 'RE 'S 'LL",
        "-LRB- -RRB- -DOCSTART-",
        "O'Neill Al-Qaeda U.S.A. AC/DC name(s)",
        ":D ;P 10:30 1,200 [1] (2)",
        "https://a.org/x.,y",
        "https://a.org/File:Bonn,Rome www.a.org/|Bonn mailto:Anna@b.org",
        "（北京）(北京)“北京”,北京",
        "in ( Berlin ) , Rome",
    ],
)
def test_opening_marks_that_belong_to_the_word_stay(text: str) -> None:
    assert space_after_opening(text) == text


@given(st.text("aB('\",-.:;—|* \n北é1_=<", max_size=40))
def test_opening_ends_are_where_the_spaces_are(text: str) -> None:
    spaced = list(text)
    for end in reversed(list(ends_of_opening(text))):
        spaced.insert(end, " ")
    assert "".join(spaced) == space_after_opening(text)


@pytest.mark.parametrize(
    "piece", ["(", "-", ".", ',"', ":'", "—", "( ", "'", "_", "=", "(_"]
)
def test_opening_takes_linear_time(piece: str) -> None:
    # as a quadratic search it would take minutes
    assert space_after_opening(piece * 200_000) == piece * 200_000
