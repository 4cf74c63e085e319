"""The texts of the benchmark, with their gold mentions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from spacy_padellm.corpora.files import read_lines
from spacy_padellm.error_words import words_of
from spacy_padellm.errors import Errors
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.text.normalize import normalize_characters, normalize_text
from spacy_padellm.writable import write_whole

NAMES = {
    "PER": "person",
    "LOC": "location",
    "ORG": "organization",
    "MISC": "miscellaneous",
}
# the entity types of OntoNotes, for runs with many labels
MANY_LABELS = (
    "person", "organization", "location", "nationality or group", "facility",
    "country or city", "product", "event", "work of art", "law", "language", "date",
    "time", "percent", "money", "quantity", "ordinal", "cardinal",
)  # fmt: skip


def read_gold(path: Path, *, lang: str) -> list[GoldText]:
    """Read the texts of a corpus.

    path (Path): A .spacy corpus, which needs spaCy, or JSON lines, which may be
        compressed (.gz, .bz2, .xz).
    lang (str): Language of a .spacy corpus.
    RAISES (ValueError): If the file does not exist, cannot be read or has no mentions.
    """
    if not path.is_file():
        raise ValueError(Errors.P201.format(path=path))
    is_doc_bin = path.suffix == ".spacy"
    golds = _read_doc_bin(path, lang) if is_doc_bin else _read_json_lines(path)
    golds = [_normalized(gold) for gold in golds if gold.text.strip()]
    if not have_mentions(golds):
        raise ValueError(Errors.P164.format(path=path))
    return golds


def have_mentions(golds: Sequence[GoldText]) -> bool:
    """Whether there is a mention in any of the texts.

    golds (Sequence[GoldText]): The texts and their gold mentions.
    """
    return any(found for gold in golds for found in gold.mentions.values())


def _normalized(gold: GoldText) -> GoldText:
    text = normalize_text(gold.text)
    mentions = {
        label: [_as_in(text, mention) for mention in found]
        for label, found in gold.mentions.items()
    }
    return GoldText(text, mentions)


def _as_in(text: str, mention: str) -> str:
    """The mention as the normalized text has it: it may begin with an opening mark."""
    normalized = normalize_text(mention)
    return normalized if normalized in text else normalize_characters(mention)


def _read_doc_bin(path: Path, lang: str) -> list[GoldText]:
    try:
        import spacy

        from spacy_padellm.benchmark.subjects.pipelines import gold_text_of, read_corpus
    except ImportError as error:
        raise ValueError(Errors.P165.format(path=path)) from error
    vocab = spacy.blank(lang).vocab
    try:
        docs = read_corpus(path, vocab)
    except Exception as error:  # a broken file can raise errors of many libraries
        raise ValueError(
            Errors.P192.format(path=path, error=words_of(error))
        ) from error
    return list(map(gold_text_of, docs))


def _read_json_lines(path: Path) -> list[GoldText]:
    golds = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            golds.append(_read_value(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = Errors.P166.format(path=path, line=number, error=error)
            raise ValueError(message) from error
    return golds


def _read_value(value: Any) -> GoldText:
    """A text and its mentions from the JSON of a line."""
    text, mentions = value["text"], dict(value["mentions"].items())
    if not isinstance(text, str):
        raise ValueError(f"'text' is no string: {text!r}")
    for label, found in mentions.items():
        if not (isinstance(found, list) and all(isinstance(m, str) for m in found)):
            raise ValueError(f"'{label}' has no list of strings: {found!r}")
    return GoldText(text, mentions)


def write_gold(path: Path, golds: Sequence[GoldText]) -> None:
    """Write texts as JSON lines."""
    values = [{"text": gold.text, "mentions": dict(gold.mentions)} for gold in golds]
    lines = [f"{json.dumps(value, ensure_ascii=False)}\n" for value in values]
    write_whole(path, "".join(lines).encode())


def choose(golds: Sequence[GoldText], count: int) -> list[GoldText]:
    """Choose distinct texts, spread evenly over the corpus.

    golds (Sequence[GoldText]): The texts and their gold mentions.
    count (int): How many texts; all of them if there are fewer.
    """
    distinct = list({gold.text: gold for gold in golds}.values())
    size = min(count, len(distinct))
    return [distinct[n * len(distinct) // size] for n in range(size)]


def join(
    golds: Sequence[GoldText], *, size: int, count: int, tokens: Callable[[str], int]
) -> list[GoldText]:
    """Join successive texts to long ones.

    golds (Sequence[GoldText]): The texts and their gold mentions.
    size (int): Minimum length in tokens.
    count (int): How many texts; fewer if the corpus is too small.
    tokens (Callable[[str], int]): Counts the tokens of a text.
    RAISES (ValueError): If all texts together are shorter.
    """
    joined: list[GoldText] = []
    part: list[GoldText] = []
    length = 0
    for gold in golds:
        part.append(gold)
        length += tokens(gold.text)
        if length < size:
            continue
        mentions: dict[str, list[str]] = {}
        for piece in part:
            for label, found in piece.mentions.items():
                mentions.setdefault(label, []).extend(found)
        joined.append(GoldText(" ".join(piece.text for piece in part), mentions))
        part, length = [], 0
        if len(joined) == count:
            break
    if not joined:
        raise ValueError(Errors.P167.format(size=size, found=length))
    return joined


def with_labels(golds: Sequence[GoldText], count: int) -> list[GoldText]:
    """Change the number of labels.

    If the texts have more labels, the most frequent ones are kept. If they have fewer,
    each distinct mention string gets one of the new labels in turn.

    golds (Sequence[GoldText]): The texts and their gold mentions.
    count (int): Number of labels.
    """
    found = Counter(
        label
        for gold in golds
        for label, mentions in gold.mentions.items()
        for _ in mentions
    )
    if count <= len(found):
        kept = {label for label, _ in found.most_common(count)}
        return [
            GoldText(g.text, {k: v for k, v in g.mentions.items() if k in kept})
            for g in golds
        ]
    names = _label_names(count)
    turn = cycle(names)
    dealt: dict[str, str] = {}
    changed = []
    for gold in golds:
        mentions: dict[str, list[str]] = {}
        for text_mentions in gold.mentions.values():
            for mention in text_mentions:
                if mention not in dealt:
                    dealt[mention] = next(turn)
                mentions.setdefault(dealt[mention], []).append(mention)
        ordered = {k: _in_text_order(gold.text, v) for k, v in mentions.items()}
        changed.append(GoldText(gold.text, ordered))
    return changed


def _in_text_order(text: str, mentions: Sequence[str]) -> list[str]:
    """Sort mention strings by offset; equal strings are successive occurrences."""
    searched: dict[str, int] = {}
    located = []
    for mention in mentions:
        start = text.find(mention, searched.get(mention, 0))
        searched[mention] = start + 1
        located.append((start, mention))
    return [mention for _, mention in sorted(located)]


def _label_names(count: int) -> list[str]:
    more = (f"{name} {n}" for n in range(2, count + 2) for name in MANY_LABELS)
    return list(islice((*MANY_LABELS, *more), count))


def names_of(golds: Sequence[GoldText]) -> dict[str, str]:
    """Label -> its name in the prompt, for all labels of the texts."""
    found = sorted({label for gold in golds for label in gold.mentions})
    return {label: NAMES.get(label, label.lower()) for label in found}
