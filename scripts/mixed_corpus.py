"""Make the bundled model's training corpus from converted corpora.

Each gold corpus is used unchanged, and as running text: one to three sentences at a
time, with the spacing of ordinary writing. Both are used twice more with other names in
most mentions, so that a model learns to find names that it does not know. Labels are
renamed to PER, LOC, ORG and MISC. Silver corpora (scripts/silver.py) are used once.

    python scripts/mixed_corpus.py OUTPUT.spacy GOLD.spacy [...] --silver SILVER.spacy

--names adds names from the lists of scripts/names.py.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.writable import write_whole

SPANS_KEY = "padellm"
# labels of WNUT-17 and CrossNER; labels that are not listed are left out
NAMES = {
    "PER": "person politician writer scientist researcher musicalartist",
    "LOC": "location country astronomicalobject",
    "ORG": "group corporation organisation politicalparty university band",
    "MISC": "product creative-work misc award election event book album song poem "
    "magazine academicjournal conference programlang",
}
LABELS = {old: new for new, olds in NAMES.items() for old in [new, *olds.split()]}
NO_SPACE_BEFORE = {*".,;:!?)]}%", "'s", "'S", "n't", "'re", "'ve", "'ll", "'m", "'d"}
NO_SPACE_AFTER = {*"([{$#@"}
SWAPPED = 0.7  # share of mentions that get another name
TIMES = 2  # how often a text is used with other names
INVENTED = 0.25  # share of the other names that are made up
LISTED = 0.45  # share of the other names from lists, where there are lists
ACRONYMS = 0.3  # share of the made-up organizations
LOWER, UPPER = 0.06, 0.03  # share of texts
# fmt: off
SYLLABLES = [
    "ka", "mi", "to", "ran", "del", "sor", "vin", "ba", "lo", "gre", "thar", "ne",
    "uk", "ji", "wen", "os", "mar", "fi", "zel", "dro", "ha", "an", "berg", "ton",
    "ville", "son", "ov", "ski", "ez", "ham", "ley", "ia", "stein", "wood", "ford",
    "a", "e", "i", "o", "en", "or", "el", "us", "cha", "sha", "pra", "qui", "nor",
    "bla", "tri", "ste", "ph", "gu", "ya", "xi", "zhou", "lin", "mo", "sen", "bri",
    "cal", "pen", "do", "ru",
]
# fmt: on


@dataclass(frozen=True, slots=True)
class Text:
    """Words, whether a space follows each, and mentions as (start, end, label)."""

    words: list[str]
    spaces: list[bool]
    mentions: list[tuple[int, int, str]]

    def to_doc(self, vocab: spacy.Vocab) -> Doc:
        doc = Doc(vocab, words=self.words, spaces=self.spaces)
        doc.set_ents([Span(doc, *mention) for mention in self.mentions])
        return doc


def read(path: Path, vocab: spacy.Vocab) -> list[Text]:
    """Read a corpus, and rename its labels."""
    texts = []
    for doc in DocBin().from_disk(path).get_docs(vocab):
        gold = doc.spans.get(SPANS_KEY, doc.ents)
        mentions = [
            (span.start, span.end, LABELS[span.label_])
            for span in gold
            if span.label_ in LABELS
        ]
        if len(doc):
            words = [token.text for token in doc]
            spaces = [bool(token.whitespace_) for token in doc]
            texts.append(Text(words, spaces, sorted(mentions)))
    return texts


def ordinary_spaces(words: Sequence[str]) -> list[bool]:
    """Whether ordinary writing has a space after each word."""
    after = [True] * len(words)
    quotes = 0
    for i, word in enumerate(words):
        if i and word in NO_SPACE_BEFORE:
            after[i - 1] = False
        if word in NO_SPACE_AFTER:
            after[i] = False
        if word == '"':
            quotes += 1
            if quotes % 2:
                after[i] = False
            elif i:
                after[i - 1] = False
    return after


def join(texts: Sequence[Text]) -> Text:
    """Join texts to a running text with the spacing of ordinary writing."""
    words: list[str] = []
    spaces: list[bool] = []
    mentions = []
    for text in texts:
        start = len(words)
        if spaces:
            spaces[-1] = True
        words += text.words
        spaces += ordinary_spaces(text.words) if all(text.spaces[:-1]) else text.spaces
        mentions += [(start + a, start + b, label) for a, b, label in text.mentions]
    spaces[-1] = False
    return Text(words, spaces, mentions)


def running(texts: Sequence[Text], rng: random.Random) -> Iterator[Text]:
    """Join consecutive sentences, one to three at a time."""
    start = 0
    while start < len(texts):
        count = rng.choice((1, 1, 2, 3))
        yield join(texts[start : start + count])
        start += count


def invent(label: str, rng: random.Random) -> list[str]:
    """Make up a name."""
    if label == "ORG" and rng.random() < ACRONYMS:
        return ["".join(rng.choices(ascii_uppercase, k=rng.choice((3, 3, 4, 5))))]
    words = []
    for _ in range(rng.choice((1, 1, 2))):
        count = rng.choice((1, 2, 2, 3))
        words.append("".join(rng.choice(SYLLABLES) for _ in range(count)))
    return [word.capitalize() if rng.random() < 0.9 else word for word in words]


@dataclass(frozen=True, slots=True)
class Names:
    """Names by label, each a list of words: from the gold corpora, and from lists."""

    gold: Mapping[str, Sequence[list[str]]]
    listed: Mapping[str, Sequence[list[str]]]

    def draw(self, label: str, rng: random.Random) -> list[str]:
        chance = rng.random()
        if chance < INVENTED:
            return invent(label, rng)
        if chance < INVENTED + LISTED and label in self.listed:
            return rng.choice(self.listed[label])
        return rng.choice(self.gold[label])


def swap(text: Text, names: Names, rng: random.Random) -> Text:
    """Replace most mentions of a text by other names."""
    words: list[str] = []
    spaces: list[bool] = []
    mentions = []
    reached = 0
    for start, end, label in text.mentions:
        if start < reached:
            continue  # nested in the mention before
        words += text.words[reached:start]
        spaces += text.spaces[reached:start]
        name = text.words[start:end]
        if rng.random() < SWAPPED:
            name = names.draw(label, rng)
        mentions.append((len(words), len(words) + len(name), label))
        words += name
        spaces += [True] * (len(name) - 1) + [text.spaces[end - 1]]
        reached = end
    words += text.words[reached:]
    spaces += text.spaces[reached:]
    return Text(words, spaces, mentions)


def recase(text: Text, rng: random.Random) -> Text:
    """Set a few texts in lower or upper case, as users may type them."""
    chance = rng.random()
    if chance < LOWER:
        return Text([word.lower() for word in text.words], text.spaces, text.mentions)
    if chance < LOWER + UPPER:
        return Text([word.upper() for word in text.words], text.spaces, text.mentions)
    return text


def mix(
    gold: Sequence[Sequence[Text]],
    listed: Mapping[str, Sequence[list[str]]],
    rng: random.Random,
) -> Iterator[Text]:
    """Yield all gold corpora unchanged, as running text, and with other names."""
    pool: dict[str, list[list[str]]] = defaultdict(list)
    for texts in gold:
        for text in texts:
            for start, end, label in text.mentions:
                pool[label].append(text.words[start:end])
    names = Names(pool, listed)
    for texts in gold:
        plain = [*texts, *running(texts, rng)]
        yield from plain
        for _ in range(TIMES):
            again = [*texts, *running(texts, rng)]
            yield from (swap(text, names, rng) for text in again if text.mentions)


def write(path: Path, texts: Iterable[Text], vocab: spacy.Vocab) -> None:
    corpus = DocBin(store_user_data=False)
    for text in texts:
        corpus.add(text.to_doc(vocab))
    write_whole(path, corpus.to_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("gold", type=Path, nargs="+")
    parser.add_argument("--silver", type=Path, nargs="*", default=[])
    parser.add_argument("--names", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    lists = json.loads(args.names.read_text("utf8")) if args.names else {}
    listed = {label: [name.split() for name in names] for label, names in lists.items()}
    vocab = spacy.blank("en").vocab
    texts = list(mix([read(path, vocab) for path in args.gold], listed, rng))
    for path in args.silver:
        texts += read(path, vocab)
    texts = [recase(text, rng) for text in texts]
    rng.shuffle(texts)
    write(args.output, texts, vocab)
    count = sum(len(text.mentions) for text in texts)
    print(f"{len(texts)} texts, {count} mentions")


if __name__ == "__main__":
    main()
