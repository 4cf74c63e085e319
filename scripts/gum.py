"""Convert GUM's named mentions to a corpus: persons, places and organizations.

    python scripts/gum.py OUTPUT.spacy FOLDER

The folder is GUM's coref/gum/tsv (WebAnno TSV). Only genres whose texts are licensed
under CC BY or CC BY-SA are used. GUM annotates complete noun phrases. To get names as
in NER corpora, articles, titles and lower-case words at the start of a phrase are cut
off, and so is everything after the name. Phrases without a capitalized name are left
out.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.writable import write_whole

GENRES = ("academic", "bio", "court", "interview", "news", "voyage")
LABELS = {"person": "PER", "place": "LOC", "organization": "ORG"}
ENTITY = re.compile(r"(\w+)(?:\[(\d+)\])?")


def words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


# lower-case words inside names
INSIDE = words_of("de la del van von der den du di da al bin ibn & - . '")
INSIDE_OTHERS = words_of("of the and for 's ’s")  # not in names of persons
# words that may follow a name in its noun phrase; before others it is a modifier
AFTER = words_of(
    "of in at on from to for with by who which that whose as where when near under "
    "and or 's ’s , ( [ - – — : ; ' \""
)
TITLES = words_of(
    "Mr Mrs Ms Dr Prof Sir Lord Lady Dame Rev St President Prime Minister Senator "
    "Governor Professor Judge Justice Captain General Major Colonel King Queen Prince "
    "Princess Pope Chief Deputy Vice Secretary Mayor Ambassador Director Chairman CEO "
    "Emperor Petitioner Mom Dad Mr. Mrs. Ms. Dr. Prof. Rev. Gov. Sen. Rep. Gen. Sgt. "
    "Lt. Col. Capt. The A An"
)
USUAL = 3  # a word that is in lower case this often is not a name on its own


@dataclass(slots=True)
class Sentence:
    """Words, and noun phrases as entity number -> (type, word indices)."""

    words: list[str] = field(default_factory=list)
    phrases: dict[str, tuple[str, list[int]]] = field(default_factory=dict)

    def add(self, columns: Sequence[str]) -> None:
        """Add a line of the file: number, characters, word, types like "person[3]"."""
        index = len(self.words)
        self.words.append(columns[2])
        for kind, number in ENTITY.findall(columns[3]):
            phrase = self.phrases.setdefault(number or f"word {index}", (kind, []))
            phrase[1].append(index)


def read(path: Path) -> Iterator[Sentence]:
    sentence = Sentence()
    for line in path.read_text("utf8").splitlines():
        columns = line.split("\t")
        if len(columns) > 3:
            sentence.add(columns)
        elif sentence.words:
            yield sentence
            sentence = Sentence()
    if sentence.words:
        yield sentence


def is_capital(word: str) -> bool:
    return word[0].isupper()


def name_of(
    words: Sequence[str], usual: Mapping[str, int], *, kind: str
) -> tuple[int, int] | None:
    """The (start, end) of the name in a noun phrase, or None."""
    inside = INSIDE if kind == "person" else INSIDE | INSIDE_OTHERS
    start = 0
    while start < len(words) and (
        not is_capital(words[start]) or words[start] in TITLES or words[start] == "I"
    ):
        start += 1
    if any(word in AFTER for word in words[:start]):
        return None  # the name is a modifier: "the walls of Babylon"
    end = start
    while end < len(words) and (
        is_capital(words[end])
        or words[end] in inside
        or words[end][0].isdigit()
        or words[end - 1] == "-"
    ):
        end += 1
    while end > start and words[end - 1] in inside - {"."}:
        end -= 1
    if start == end or (end < len(words) and words[end] not in AFTER):
        return None
    rare = any(
        is_capital(word) and usual[word.lower()] < USUAL for word in words[start:end]
    )
    return (start, end) if rare else None


def mentions(
    sentence: Sentence, usual: Mapping[str, int]
) -> list[tuple[int, int, str]]:
    """The outermost names of a sentence as (start, end, label)."""
    found = []
    for kind, indices in sentence.phrases.values():
        # names of other kinds, too, so that names inside them are not used
        words = [sentence.words[index] for index in indices]
        contiguous = indices[-1] - indices[0] + 1 == len(indices)
        name = name_of(words, usual, kind=kind) if contiguous else None
        if name is not None:
            found.append((indices[0] + name[0], indices[0] + name[1], kind))
    outer: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(found, key=lambda item: item[0] - item[1]):
        if all(end <= other[0] or start >= other[1] for other in outer):
            outer.append((start, end, kind))
    return sorted(
        (start, end, LABELS[kind]) for start, end, kind in outer if kind in LABELS
    )


def choose_labels(
    found: Sequence[Sequence[tuple[int, int, str]]], texts: Sequence[Sentence]
) -> list[list[tuple[int, int, str]]]:
    """Give each name its most frequent label: a country in sports stays a place."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for text, names in zip(texts, found, strict=True):
        for start, end, label in names:
            votes[" ".join(text.words[start:end])][label] += 1
    return [
        [
            (start, end, votes[" ".join(text.words[start:end])].most_common(1)[0][0])
            for start, end, _ in names
        ]
        for text, names in zip(texts, found, strict=True)
    ]


def main(output: str, folder: str) -> None:
    paths = [
        path for genre in GENRES for path in sorted(Path(folder).glob(f"GUM_{genre}_*"))
    ]
    texts = [sentence for path in paths for sentence in read(path)]
    usual = Counter(word for text in texts for word in text.words if word.islower())
    found = choose_labels([mentions(text, usual) for text in texts], texts)
    vocab = spacy.blank("en").vocab
    corpus = DocBin(store_user_data=False)
    for text, names in zip(texts, found, strict=True):
        doc = Doc(vocab, words=text.words)
        doc.set_ents([Span(doc, *name) for name in names])
        corpus.add(doc)
    write_whole(Path(output), corpus.to_bytes())
    print(f"{len(corpus)} sentences, {sum(map(len, found))} mentions")


if __name__ == "__main__":
    main(*sys.argv[1:])
