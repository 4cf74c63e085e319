from __future__ import annotations

import pytest

from spacy_padellm.text.renaming import RenamingError, parse_renaming


def test_renaming_reads_pairs_with_spaces_around_them() -> None:
    assert parse_renaming(" PER = a person ,LOC=place,") == {
        "PER": "a person",
        "LOC": "place",
    }
    assert parse_renaming("") == {}


def test_renaming_may_say_the_same_twice() -> None:
    assert parse_renaming("PER=person,PER=person") == {"PER": "person"}


@pytest.mark.parametrize("option", ["PER", "=person", "PER=", "PER=person,LOC"])
def test_renaming_incomplete_pairs_are_errors(option: str) -> None:
    with pytest.raises(RenamingError, match="old=new"):
        parse_renaming(option)


def test_renaming_a_label_to_two_names_is_an_error() -> None:
    with pytest.raises(RenamingError, match="PER"):
        parse_renaming("PER=person,PER=human")
