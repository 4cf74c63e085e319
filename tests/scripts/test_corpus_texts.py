"""Texts with other names (scripts/corpus_texts.py), and lists (scripts/names.py)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
import spacy
from corpus_texts import Names, Text, running, swap
from new_process import run_python

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
WORDS = ["Anna", "Smith", "flew", "to", "Oslo", ",", "alone", "."]
VOCAB = spacy.blank("en").vocab
LISTED = ["Quentin Zzyzx", "Xanthe"]


TEXT = Text(WORDS, [True] * 7 + [False], [(0, 2, "PER"), (4, 5, "LOC")])


def swapped(listed: Mapping[str, Sequence[list[str]]]) -> list[Text]:
    """A text two hundred times with other names."""
    gold = {"PER": [["Anna", "Smith"]], "LOC": [["Oslo"]]}
    rng = random.Random(0)
    return [swap(TEXT, Names(gold, listed), rng) for _ in range(200)]


def joined(count: int) -> list[Text]:
    """The running texts of this many sentences that are made of fifty."""
    texts = running([TEXT] * 50, random.Random(0))
    return [text for text in texts if len(text.words) == count * len(WORDS)]


def names(texts: Iterable[Text], label: str) -> set[str]:
    return {
        " ".join(text.words[start:end])
        for text in texts
        for start, end, found in text.mentions
        if found == label
    }


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    pytest.importorskip("pytickersymbols")  # which needs Python 3.11
    path = tmp_path_factory.mktemp("names") / "names.json"
    run_python(SCRIPTS / "names.py", path)
    found: dict[str, list[str]] = json.loads(path.read_text("utf8"))
    return found


def test_corpus_texts_mentions_keep_their_places_among_other_names() -> None:
    for text in swapped({}):
        (_, person, _), (start, end, _) = text.mentions
        words = text.words
        rest = [*words[person:start], *words[end:]]
        assert rest == ["flew", "to", ",", "alone", "."]
        assert len(text.spaces) == len(words)


def test_corpus_texts_are_joined_with_the_spacing_of_writing() -> None:
    (text,) = {running_text.to_doc(VOCAB).text for running_text in joined(2)}
    assert text == "Anna Smith flew to Oslo, alone. Anna Smith flew to Oslo, alone."


def test_corpus_texts_joined_mentions_are_those_of_each_sentence() -> None:
    for text in joined(3):
        assert names([text], "PER") == {"Anna Smith"}
        assert names([text], "LOC") == {"Oslo"}
        assert len(text.mentions) == 6


def test_corpus_texts_take_names_from_lists() -> None:
    texts = swapped({"PER": [name.split() for name in LISTED]})
    assert {*LISTED} < names(texts, "PER")
    assert not {*LISTED} & names(texts, "LOC")


def test_names_lists_hold_names_of_each_kind(
    lists: dict[str, list[str]],
) -> None:
    assert set(lists) == {"PER", "LOC", "ORG"}
    assert {"Norway", "Texas", "London"} <= set(lists["LOC"])
    assert any(name.startswith("University of ") for name in lists["ORG"])
    assert {"Siemens", "Nike"} <= set(lists["ORG"])
    assert "Smith" in {name.split()[-1] for name in lists["PER"]}
    assert all(name == name.strip() != "" for kind in lists.values() for name in kind)


def test_names_lists_draw_large_places_more_often(
    lists: dict[str, list[str]],
) -> None:
    assert lists["LOC"].count("London") > lists["LOC"].count("Oslo") > 0
