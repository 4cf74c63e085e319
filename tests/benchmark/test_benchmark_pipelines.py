"""Gold Docs and scores of the benchmark's pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.benchmark.gold import read_gold
from spacy_padellm.benchmark.subjects.pipelines import (
    SPANS_KEY,
    gold_docs,
    score,
    search_mentions,
)
from spacy_padellm.mention.gold import GoldText


def test_benchmark_pipelines_score_labels_that_gold_docs_do_not_know() -> None:
    nlp = spacy.blank("en")
    config = {"spans_key": SPANS_KEY}
    ruler: Any = nlp.add_pipe("span_ruler", config=config)
    ruler.add_patterns([{"label": "NEVER_GOLD", "pattern": "Al"}])
    gold = search_mentions(spacy.blank("en"), GoldText("Bo met Al", {"PER": ["Bo"]}))
    assert score(nlp, [gold])["strings_f"] == 0.0


def test_benchmark_pipelines_take_the_gold_docs_of_the_corpus(tmp_path: Path) -> None:
    path = tmp_path / "gold.spacy"
    words = ["in", " ", "(", "Bonn", ")"]
    doc = Doc(spacy.blank("en").vocab, words, spaces=[True, False, False, False, False])
    doc.set_ents([Span(doc, 3, 4, "LOC")])
    DocBin(docs=[doc]).to_disk(path)
    (gold,) = gold_docs(path, read_gold(path, lang="en"), lang="en")
    assert [token.text for token in gold] == words
