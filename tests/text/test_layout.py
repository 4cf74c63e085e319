"""Breaks of the layout, and line breaks of wrapped prose."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.text import layout
from spacy_padellm.text.layout import layout_breaks

PROSE = (
    "Angela Merkel said on Thursday that the European Central Bank in Frankfurt would "
    "keep its rates, while Deutsche Bank and the government of New York State expect "
    "a rise. Emmanuel Macron flew to Rio de Janeiro with the head of Air France."
)


def parts(text: str) -> list[str]:
    """The parts of a text between its breaks."""
    found, start = [], 0
    for first, end in layout_breaks(text):
        found.append(text[start:first])
        start = end
    return [part for part in (*found, text[start:]) if part.strip()]


HASH = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna Smith\n\nBob Jones", ["Anna Smith", "Bob Jones"]),
        ("Anna Smith\r\n\r\nBob Jones", ["Anna Smith", "Bob Jones"]),
        ("Anna Smith\n \t\nBob Jones", ["Anna Smith", "Bob Jones"]),
        ("Anna Smith\tOslo\tSiemens", ["Anna Smith", "Oslo", "Siemens"]),
        ("Anna Smith   Oslo", ["Anna Smith", "Oslo"]),
        (
            f"Anna Smith. See {HASH}\n{HASH}\nBob",
            [f"Anna Smith. See {HASH}", HASH, "Bob"],
        ),
        ("met Anna\n12 7.5 300 4\nin Oslo", ["met Anna", "12 7.5 300 4", "in Oslo"]),
        (
            "from 10 to 12 and 14\nto 16 in Oslo",
            ["from 10 to 12 and 14\nto 16 in Oslo"],
        ),
        ("Anna Smith  Oslo", ["Anna Smith  Oslo"]),
        (
            "Anna Smith\nBob Jones\nCarla Ruiz",
            ["Anna Smith", "Bob Jones", "Carla Ruiz"],
        ),
        (
            "Name: Anna Smith\nCity: Oslo\nEmployer: Siemens\n",
            ["Name: Anna Smith", "City: Oslo", "Employer: Siemens"],
        ),
        ("name: Anna Smith\ncity: Oslo", ["name: Anna Smith", "city: Oslo"]),
        (
            "Guests were\n- Anna Smith\n- Bob Jones",
            ["Guests were", "- Anna Smith", "- Bob Jones"],
        ),
        # a bullet's text that is wrapped, and quoted mail
        (
            "- Anna of the Bank of\n  England came\n- Bob of New\n  York left",
            ["- Anna of the Bank of\n  England came", "- Bob of New\n  York left"],
        ),
        ("> met Anna in New\n> York yesterday", None),
        (">> She met them in New\n>> York\n", ["She met them in New\n>> York"]),
        ("> > She met Anna\r\n> > Smith there", ["She met Anna\r\n> > Smith there"]),
        (
            "Hi Anna\n> Bob wrote to me\n> > that he met\n> > Carla\nSmith is here",
            ["Hi Anna", "Bob wrote to me", "that he met\n> > Carla", "Smith is here"],
        ),
        (
            "> Price:\t5 euros, said the chancellor Angela\n> Merkel today",
            ["> Price:", "5 euros, said the chancellor Angela\n> Merkel today"],
        ),
        (
            "so Bob\n>> Price:   5 euros, said the chancellor Angela\n>> Merkel today",
            [
                "so Bob",
                "Price:",
                "5 euros, said the chancellor Angela\n>> Merkel today",
            ],
        ),
        ("> to\tsee Anna in New\nYork", ["> to", "see Anna in New", "York"]),
        ("> Anna Smith\n> Bob Jones", ["> Anna Smith", "Bob Jones"]),
        ("> - Anna Smith\n> - Bob Jones", ["> - Anna Smith", "- Bob Jones"]),
        ("> met Anna\n>\n> Bob left", ["> met Anna", "Bob left"]),
        ("a growth of\n>5 percent in New York", None),
        ("1. Anna Smith\n2. Bob Jones", ["1. Anna Smith", "2. Bob Jones"]),
        (
            "REUTERS\nAnna Smith flew to Oslo on Monday.",
            ["REUTERS", "Anna Smith flew to Oslo on Monday."],
        ),
        ("She moved from Oslo to New\nYork in 1999.", None),
        ("Did you see Bill\nClinton on Friday?", None),
        ("Anna met Emmanuel\nMacron in Berlin.", None),
        ("He works for the Bank of\nEngland now.", None),
        ("Anna Smith, who was born in Oslo, met\nBob Jones of Siemens there.", None),
        ("Anna Smith\nlives in Oslo.", None),
        ("She moved to New\nYork in 1999 with Anna\nSmith and others.", None),
        ("王小明在北京大学学习，他的老师是李大\n伟教授。", None),
        ("王小明\n李大伟", ["王小明", "李大伟"]),
        ("USA USA USA USA won", ["USA", "USA", "USA", "USA won"]),
        ("New York New York New York New York", ["New York"] * 4),
        ("Bye Bye Bye was a hit", None),
        ("It was . . . . - - - - Oslo", None),
        ("USA, USA, USA", ["USA,", "USA,", "USA"]),
        ("USA and USA and USA.", ["USA", "and", "USA", "and", "USA."]),
        ("USA, and USA, and USA", ["USA,", "and", "USA,", "and", "USA"]),
        ("Rio Negro | Rio Negro | Rio Negro", [*["Rio Negro", "|"] * 2, "Rio Negro"]),
        ("USA,USA,USA", ["USA", "USA", "USA"]),
        ("[New York, New York, New York]", ["[New York,", "New York,", "New York]"]),
        ("USA, USA", None),
        ("very very good", None),
        ("no break at all", None),
        ("", []),
        ("\n\n", []),
    ],
)
def test_layout_breaks_part_lines_of_lists_and_forms_alone(
    text: str, expected: list[str] | None
) -> None:
    assert parts(text) == ([text] if expected is None else expected)


@pytest.mark.parametrize("width", range(24, 100))
@pytest.mark.parametrize("indent", ["", "    ", "> ", ">> "])
def test_layout_breaks_of_wrapped_prose_part_nothing(width: int, indent: str) -> None:
    lines = textwrap.wrap(PROSE, width, break_on_hyphens=False)
    breaks = layout_breaks(indent + f"\n{indent}".join(lines))
    assert [start for start, _ in breaks if start > 0] == []


@pytest.mark.parametrize("text", ["USA " * 500, "a b " * 500, "a" * 5000, "ab " * 999])
def test_layout_breaks_of_repetitions_are_between_them(text: str) -> None:
    words = text.split()
    assert " ".join(parts(text)).split() == words


@given(st.text(alphabet="aA :->\n\t1.,王", max_size=60))
def test_layout_breaks_hold_no_letter_and_are_in_text_order(text: str) -> None:
    last = 0
    for start, end in layout_breaks(text):
        assert last <= start < end
        assert not any(char.isalnum() for char in text[start:end])
        last = end


CHARACTERS = st.sampled_from([*"ab1_é\u0301\u200d😀北ß²ा-,.([<:/& \t\n\u00a0·"])


@given(
    st.text(CHARACTERS, min_size=1, max_size=4),
    st.text(CHARACTERS, min_size=1, max_size=3),
    st.integers(2, 5),
    st.text(CHARACTERS, max_size=3),
)
def test_layout_counting_of_words_hides_nothing_repeated(
    item: str, apart: str, times: int, around: str
) -> None:
    text = around + apart.join([item] * times) + around
    found = layout_breaks(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_FEWEST_REPEATS", 0)
        assert found == layout_breaks(text)
