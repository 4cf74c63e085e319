from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from spacy_padellm.decoding.baselines.answer_format import unescape
from spacy_padellm.decoding.baselines.augmented import AUGMENTED
from spacy_padellm.decoding.baselines.gold_offsets import (
    MentionOffsets,
    locate_gold,
    outermost,
)
from spacy_padellm.decoding.baselines.onestep import ONE_STEP
from spacy_padellm.decoding.baselines.structured import STRUCTURED
from spacy_padellm.mention.gold import GoldText

LABELS = {"PER": "person", "LOC": "geo (political)", "ORG": "organization [x]"}
FORMATS = {"onestep": ONE_STEP, "structured": STRUCTURED, "augmented": AUGMENTED}
MARKS = r"a NULL,()[]:\" "

mention_strings = st.one_of(
    st.text(min_size=1, max_size=8), st.text(MARKS, min_size=1, max_size=8)
).filter(lambda string: string == string.strip() != "")
golds = st.dictionaries(
    st.sampled_from(sorted(LABELS)), st.lists(mention_strings, min_size=1, max_size=4)
)


def write(kind: str, mentions: dict[str, list[str]], text: str = "") -> str:
    return "".join(FORMATS[kind].write(GoldText(text, mentions), LABELS))


def read(kind: str, answer: str) -> dict[str, list[str]]:
    """The mentions of an answer; checks that they stand where they say."""
    found: dict[str, list[str]] = {}
    for label, pieces in FORMATS[kind].read(answer, LABELS).items():
        reached = 0
        for piece in pieces:
            assert piece.text == unescape(answer[piece.start : piece.end]) != ""
            assert reached <= piece.start
            reached = piece.end
            found.setdefault(label, []).append(piece.text)
    return found


# Writing


def test_structured_is_written_as_in_the_paper() -> None:
    labels = {label: label for label in ("PER", "LOC", "ORG")}
    gold = GoldText("", {"LOC": ["Italy", "Rome"], "PER": ["Cuttitta"]})
    answer = "".join(STRUCTURED.write(gold, labels))
    assert answer == "((PER): (Cuttitta), (LOC): (Italy, Rome), (ORG): (NULL))"


def test_augmented_is_written_as_in_the_paper() -> None:
    gold = GoldText("Japan, co-hosts of the Cup.", {"LOC": ["Japan"], "MISC": ["Cup"]})
    answer = "".join(AUGMENTED.write(gold, {"LOC": "LOC", "MISC": "MISC"}))
    assert answer == "[Japan LOC], co-hosts of the [Cup MISC]."


def test_onestep_is_written_as_in_the_paper() -> None:
    gold = GoldText("", {"LOC": ["Japan", "Korea"]})
    assert "".join(ONE_STEP.write(gold, {"LOC": "location"})) == "Japan, Korea"
    assert "".join(ONE_STEP.write(gold, {"PER": "person"})) == ""


# Reading what was written


@given(st.lists(mention_strings, max_size=5))
def test_onestep_reads_its_own_answers(mentions: list[str]) -> None:
    label = {"PER": "person"}
    answer = "".join(ONE_STEP.write(GoldText("", {"PER": mentions}), label))
    assert [piece.text for piece in ONE_STEP.read(answer, label)["PER"]] == mentions


@given(golds)
def test_structured_reads_its_own_answers(mentions: dict[str, list[str]]) -> None:
    assert read("structured", write("structured", mentions)) == mentions


@given(
    st.lists(
        st.tuples(mention_strings, st.sampled_from([None, *LABELS])),
        unique_by=lambda word: word[0],
        max_size=8,
    ),
    st.sampled_from(["", " ", ", "]),
)
def test_augmented_reads_its_own_answers(
    words: list[tuple[str, str | None]], separator: str
) -> None:
    text = separator.join(word for word, _ in words)
    # as the model is asked for them: the order decides between overlapping places
    mentions = {
        label: [word for word, its_label in words if its_label == label]
        for label in LABELS
    }
    mentions = {label: strings for label, strings in mentions.items() if strings}
    # of a string that the text has more often, the place is not sure
    kept: dict[str, list[str]] = {}
    for place in outermost(locate_gold(text, mentions)):
        kept.setdefault(place.label, []).append(text[place.start : place.end])
    answer = write("augmented", mentions, text)
    assert read("augmented", answer) == kept
    if all(text.count(word) == 1 for word, _ in words):
        assert kept == mentions


def test_augmented_gives_the_text_again() -> None:
    text = r"a [b] \c Paris d"
    answer = write("augmented", {"PER": ["Paris"]}, text)
    assert unescape(answer) == text.replace("Paris", "[Paris person]")


# Reading what is broken


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", {}),
        ("((person): (Ann, Bob", {"PER": ["Ann", "Bob"]}),
        (
            "((person): (Ann, (geo \\(political\\)): (Rome))",
            {"PER": ["Ann"], "LOC": ["Rome"]},
        ),
        ("((thing): (Ann), (person): (Bob))", {"PER": ["Bob"]}),
        ("((person): (Ann), (person): (Bob))", {"PER": ["Ann"]}),
        ("( ( person ) : ( Ann , Bob ),", {"PER": ["Ann", "Bob"]}),
        ("(person): (, , Ann,  , ), )", {"PER": ["Ann"]}),
        ("no answer at all", {}),
    ],
)
def test_structured_reads_broken_answers(
    answer: str, expected: dict[str, list[str]]
) -> None:
    assert read("structured", answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[Ann person met [Bob person] .", ["Bob"]),
        ("[Ann person] met [Bob person", ["Ann", "Bob"]),
        ("[Ann thing] met [Bob person] .", ["Bob"]),
        ("Ann person] met [Bob person]] ]", ["Bob"]),
        ("quite another text [ Bob   person ]", ["Bob"]),
        ("[person] [ person] [Bobperson]", None),
        ("[[Ann person] person]", ["Ann"]),
        ("[Ann person]" * 3, ["Ann"] * 3),
    ],
)
def test_augmented_reads_broken_answers(
    answer: str, expected: list[str] | None
) -> None:
    assert read("augmented", answer).get("PER") == expected


@pytest.mark.parametrize("kind", ["structured", "augmented"])
@given(st.text(MARKS + "person", max_size=60))
def test_baselines_read_any_answer(kind: str, answer: str) -> None:
    read(kind, answer)


@given(st.text(MARKS, max_size=60))
def test_onestep_reads_any_answer(answer: str) -> None:
    for piece in ONE_STEP.read(answer, {"PER": "person"})["PER"]:
        assert piece.text == unescape(answer[piece.start : piece.end]) != ""


# Places of gold mentions


@pytest.mark.parametrize(
    ("text", "mentions", "expected"),
    [
        ("Ann saw Ann", {"PER": ["Ann", "Ann"]}, ["0 PER", "8 PER"]),
        ("USA and US", {"LOC": ["US"]}, ["8 LOC"]),
        ("Paris Hilton in Paris", {"LOC": ["Paris"], "PER": ["Paris Hilton"]}, None),
        ("Paris Match in Rome , Paris", {"LOC": ["Rome", "Paris"]}, None),
        ("the Bank of Paris", {"LOC": ["Paris"], "ORG": ["Bank of Paris"]}, ["4 ORG"]),
        ("Rome", {"LOC": ["Rome", "Paris"]}, ["0 LOC"]),
        ("Rome Rome", {"LOC": ["Rome"], "ORG": ["Rome"]}, ["0 LOC", "5 ORG"]),
    ],
)
def test_placing_of_gold_mentions(
    text: str, mentions: dict[str, list[str]], expected: list[str] | None
) -> None:
    places = list(outermost(locate_gold(text, mentions)))
    if expected is None:  # the last occurrence of each
        expected = sorted(
            f"{text.rindex(string)} {label}"
            for label, strings in mentions.items()
            for string in strings
        )
    assert sorted(f"{place.start} {place.label}" for place in places) == expected


def test_placing_keeps_the_outermost() -> None:
    inner, outer, crossing = (
        MentionOffsets(4, 6, "A"),
        MentionOffsets(2, 8, "B"),
        MentionOffsets(7, 9, "C"),
    )
    assert list(outermost([inner, outer, crossing])) == [outer]
