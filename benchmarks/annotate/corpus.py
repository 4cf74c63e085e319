"""A corpus of generated short texts, and the pipeline that annotates it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import spacy

TEMPLATES = (
    "{person} of {company} was in {place} on {day}.",
    "The talks between {place} and {place} ended on {day} without a result.",
    "{company} named {person} to lead its office in {place}.",
    "On {day} it rained, and nobody came.",
    "{person} beat {person} {number}-{number} in {place}.",
    "{company} said it would buy {company} for ${number} million.",
    "Nothing else was said about the {number} people of {place}.",
)
FIRST = "Anna Boris Carla David Elena Farid Grace Hiro Ines Jonas Kofi Marta Nils"
LAST = "Adler Brown Costa Duarte Eriksen Fischer Garcia Hansen Ito Jones Klein Lopez"
STEMS = "Nor Alt Vel Mar Ber Tal Kor Lun Dra Sil Win Har Os Pel Gra Fen Rom Cas"
ENDS = "ton burg stad ville port ford heim mouth field bridge"
KINDS = "Industries Bank Motors Foods Airlines Energy Media Holdings"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"


class Words:
    """A new word or name for each field of a template."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __getitem__(self, kind: str) -> str:
        pick = self.chance.choice
        if kind == "person":
            return f"{pick(FIRST.split())} {pick(LAST.split())}"
        if kind == "company":
            return f"{self['place']} {pick(KINDS.split())}"
        if kind == "place":
            return pick(STEMS.split()) + pick(ENDS.split())
        if kind == "day":
            return pick(DAYS.split())
        return str(self.chance.randrange(1000))


def make_texts(count: int, *, seed: int = 0) -> Iterator[str]:
    """Generate short texts, few of them equal."""
    words = Words(seed)
    for _ in range(count):
        # format_map looks up each field separately
        yield words.chance.choice(TEMPLATES).format_map(words)


def write_corpus(path: Path, count: int, *, bad_every: int = 0) -> None:
    """Write texts as JSON lines with an id.

    path (Path): The file.
    count (int): Number of texts.
    bad_every (int): One of this number of rows has no text; 0 means none.
    """
    with path.open("w", encoding="utf8") as file:
        for number, text in enumerate(make_texts(count), 1):
            is_bad = bad_every and number % bad_every == 0
            row = {"id": number, "text": None if is_bad else text}
            file.write(json.dumps(row) + "\n")


def write_pipeline(path: Path) -> None:
    """Write a pipeline with the small bundled model."""
    nlp = spacy.blank("en")
    nlp.add_pipe("padellm_ner", config={"model": {"name": "bundled-en-sm"}})
    nlp.to_disk(path)
