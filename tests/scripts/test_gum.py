"""Names out of GUM's noun phrases (scripts/gum.py)."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.tokens import DocBin

from scripts.gum import main

# a noun phrase a row: its type, and its first and last word
Phrases = list[tuple[str, int, int]]


def write(folder: Path, name: str, sentences: list[tuple[str, Phrases]]) -> None:
    lines = ["#FORMAT=WebAnno TSV 3.2", ""]
    number = 0
    for index, (text, phrases) in enumerate(sentences, start=1):
        marks: dict[int, list[str]] = {}
        for kind, first, last in phrases:
            number += 1
            for place in range(first, last + 1):
                marks.setdefault(place, []).append(f"{kind}[{number}]")
        lines.append(f"#Text={text}")
        for place, word in enumerate(text.split()):
            types = "|".join(marks.get(place, ["_"]))
            lines.append(f"{index}-{place + 1}\t0-1\t{word}\t{types}\tnew\t_\t_\t")
        lines.append("")
    (folder / f"GUM_{name}.tsv").write_text("\n".join(lines), "utf8")


def convert(folder: Path) -> list[list[tuple[str, str]]]:
    """The names that the script finds, sentence by sentence."""
    output = folder / "gum.spacy"
    main(str(output), str(folder))
    docs = DocBin().from_disk(output).get_docs(spacy.blank("en").vocab)
    return [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]


def names(folder: Path, text: str, phrases: Phrases) -> list[tuple[str, str]]:
    write(folder, "news_one", [(text, phrases)])
    return convert(folder)[0]


def test_gum_articles_and_titles_are_no_part_of_a_name(tmp_path: Path) -> None:
    text = "The Boston Bruins met President Obama ."
    found = names(tmp_path, text, [("organization", 0, 2), ("person", 4, 5)])
    assert found == [("Boston Bruins", "ORG"), ("Obama", "PER")]


def test_gum_words_after_a_name_are_cut_off(tmp_path: Path) -> None:
    text = "I saw Anna Kovac from the old town ."
    assert names(tmp_path, text, [("person", 2, 6)]) == [("Anna Kovac", "PER")]


def test_gum_name_that_modifies_a_noun_is_left_out(tmp_path: Path) -> None:
    text = "They left Afghan refugees there ."
    assert names(tmp_path, text, [("person", 2, 3)]) == []


def test_gum_name_in_the_phrase_of_something_else_is_its_own(tmp_path: Path) -> None:
    text = "We saw the walls of Babylon ."
    phrases: Phrases = [("object", 2, 5), ("place", 5, 5)]
    assert names(tmp_path, text, phrases) == [("Babylon", "LOC")]


def test_gum_longer_name_wins_over_the_name_in_it(tmp_path: Path) -> None:
    text = "She left the University of Lisbon ."
    phrases: Phrases = [("organization", 2, 5), ("place", 5, 5)]
    assert names(tmp_path, text, phrases) == [("University of Lisbon", "ORG")]


def test_gum_usual_word_is_no_name_for_its_capital(tmp_path: Path) -> None:
    rows: list[tuple[str, Phrases]] = [("students like students as students", [])]
    write(tmp_path, "news_one", [*rows, ("Students left .", [("person", 0, 0)])])
    assert convert(tmp_path) == [[], []]


def test_gum_name_has_the_label_that_it_has_most_often(tmp_path: Path) -> None:
    text = "Sweden and Sweden and Sweden"
    kinds = ("place", "organization", "place")
    phrases = [(kind, 2 * n, 2 * n) for n, kind in enumerate(kinds)]
    assert names(tmp_path, text, phrases) == [("Sweden", "LOC")] * 3


def test_gum_genres_of_other_licences_are_not_read(tmp_path: Path) -> None:
    for genre in ("reddit", "fiction", "whow", "essay", "letter", "podcast"):
        write(tmp_path, f"{genre}_one", [("Anna left .", [("person", 0, 0)])])
    write(tmp_path, "bio_one", [("Marta came .", [("person", 0, 0)])])
    assert convert(tmp_path) == [[("Marta", "PER")]]
