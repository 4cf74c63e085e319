from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_padellm.benchmark.gold import (
    choose,
    join,
    names_of,
    read_gold,
    with_labels,
    write_gold,
)
from spacy_padellm.corpora import files
from spacy_padellm.mention.gold import GoldText

GOLD = [
    GoldText("Bo saw Al in Rome .", {"PER": ["Bo", "Al"], "LOC": ["Rome"]}),
    GoldText("No one came .", {}),
    GoldText("Al met Al .", {"PER": ["Al", "Al"]}),
]


@pytest.mark.parametrize("name", ["gold.jsonl", "gold.jsonl.gz"])
def test_benchmark_gold_comes_back_from_json_lines(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_gold(path, GOLD)
    assert read_gold(path, lang="en") == GOLD


def test_benchmark_gold_of_an_editor_that_marks_utf8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    write_gold(path, GOLD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_gold(path, lang="en") == GOLD


def test_benchmark_gold_of_docs_holds_nested_mentions_in_text_order(
    tmp_path: Path,
) -> None:
    nlp = spacy.blank("en")
    doc = nlp("The Bank of Paris met Bo")
    doc.spans["padellm"] = [
        doc.char_span(22, 24, "PER"),
        doc.char_span(12, 17, "LOC"),
        doc.char_span(4, 17, "PER"),
    ]
    DocBin(docs=[doc]).to_disk(tmp_path / "gold.spacy")
    (gold,) = read_gold(tmp_path / "gold.spacy", lang="en")
    assert gold.mentions == {"PER": ["Bank of Paris", "Bo"], "LOC": ["Paris"]}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"text": "a"}',
        '{"text": "a", "mentions": ["b"]}',
        '{"text": "a", "mentions": {"PER": "Bob"}}',
        '{"text": "a", "mentions": {"PER": {"Bob": 1}}}',
        '{"text": "a", "mentions": {"PER": null}}',
        '{"text": "a", "mentions": {"PER": ["Bob", null]}}',
        '{"text": "a", "mentions": {"PER": [["Bob"]]}}',
        '{"text": null, "mentions": {"PER": ["Bob"]}}',
    ],
)
def test_benchmark_gold_names_the_bad_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gold.jsonl"
    write_gold(path, GOLD[:1])
    path.write_text(path.read_text("utf8") + line, "utf8")
    with pytest.raises(ValueError, match="line 2, cannot be read"):
        read_gold(path, lang="en")


def test_benchmark_gold_names_the_label_whose_mentions_are_no_list(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"text": "Bob", "mentions": {"PER": "Bob"}}', "utf8")
    with pytest.raises(ValueError, match="'PER' has no list of strings: 'Bob'"):
        read_gold(path, lang="en")


@pytest.mark.parametrize("mentions", [{}, {"PER": []}], ids=["no_label", "empty"])
def test_benchmark_gold_without_mentions_is_refused(
    tmp_path: Path, mentions: dict[str, list[str]]
) -> None:
    write_gold(tmp_path / "gold.jsonl", [GoldText("No one came .", mentions)])
    with pytest.raises(ValueError, match="has a mention"):
        read_gold(tmp_path / "gold.jsonl", lang="en")


def test_benchmark_gold_chooses_distinct_texts_over_the_whole_corpus() -> None:
    corpus = [GoldText(f"text {n // 2}", {}) for n in range(20)]
    texts = [gold.text for gold in choose(corpus, 5)]
    assert texts == ["text 0", "text 2", "text 4", "text 6", "text 8"]


def test_benchmark_gold_joins_texts_and_their_mentions() -> None:
    joined = join(GOLD, size=6, count=9, tokens=lambda text: len(text.split()))
    assert [gold.text for gold in joined] == [
        "Bo saw Al in Rome .",
        "No one came . Al met Al .",
    ]
    assert joined[1].mentions == {"PER": ["Al", "Al"]}


def test_benchmark_gold_too_short_to_join_is_told() -> None:
    with pytest.raises(ValueError, match="have 14 tokens"):
        join(GOLD, size=99, count=1, tokens=lambda text: len(text.split()))


def test_benchmark_gold_deals_mentions_to_more_labels() -> None:
    first, none, last = with_labels(GOLD, 18)
    names = [name for name, found in first.mentions.items() for _ in found]
    assert len(set(names)) == 3
    assert none.mentions == {}
    # the same string has one label everywhere, and keeps its repeats
    assert list(last.mentions.values()) == [["Al", "Al"]]
    assert first.mentions[next(iter(last.mentions))] == ["Al"]


def test_benchmark_gold_keeps_text_order_among_dealt_mentions() -> None:
    text = "d a c b d"
    mentions = {"X": ["a", "b"], "Y": ["d", "c", "d"]}
    (dealt,) = with_labels([GoldText(text, mentions)], 3)
    for found in dealt.mentions.values():
        assert found == sorted(found, key=text.index)
    assert sum(map(len, dealt.mentions.values())) == 5


def test_benchmark_gold_keeps_the_most_frequent_of_fewer_labels() -> None:
    assert [gold.mentions for gold in with_labels(GOLD, 1)] == [
        {"PER": ["Bo", "Al"]},
        {},
        {"PER": ["Al", "Al"]},
    ]


def test_benchmark_gold_names_labels_for_the_prompt() -> None:
    assert names_of(GOLD) == {"LOC": "location", "PER": "person"}


LINE = '{"text": "é Bo", "mentions": {"PER": ["Bo"]}}\n'


@pytest.mark.parametrize(
    ("name", "content", "saying"),
    [
        ("latin.jsonl", LINE.encode("latin-1"), "latin.jsonl is not text in UTF-8"),
        ("packed.jsonl.gz", gzip.compress(LINE.encode())[:20], "packed.jsonl.gz: "),
        ("half.spacy", b"no corpus", "half.spacy as a .spacy file: "),
    ],
    ids=["latin", "packed", "half"],
)
def test_benchmark_gold_names_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes, saying: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(saying)):
        read_gold(tmp_path / name, lang="en")


def test_benchmark_gold_names_a_file_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    write_gold(tmp_path / "gold.jsonl", GOLD)
    monkeypatch.setattr(files, "OpenFile", refuse)
    with pytest.raises(ValueError, match=r"Could not read .*gold\.jsonl: .*denied"):
        read_gold(tmp_path / "gold.jsonl", lang="en")
