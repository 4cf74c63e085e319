"""Gold Docs and scores of the benchmark's pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import without_settings
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.benchmark.gold import read_gold
from spacy_padellm.benchmark.subjects.pipelines import (
    SPANS_KEY,
    gold_docs,
    load_placed_pipeline,
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


def test_benchmark_pipelines_of_a_model_for_no_task_tell_what_to_give(
    tmp_path: Path,
) -> None:
    without_settings(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be measured\. Give a pipeline"):
        load_placed_pipeline(str(tmp_path), lang="en", device=None, dtype=None)
    with pytest.raises(ValueError, match="There is no file"):
        load_placed_pipeline(
            str(tmp_path / "x.gguf"), lang="en", device=None, dtype=None
        )


def test_benchmark_pipelines_take_the_gold_docs_of_the_corpus(tmp_path: Path) -> None:
    path = tmp_path / "gold.spacy"
    words = ["in", " ", "(", "Bonn", ")"]
    doc = Doc(spacy.blank("en").vocab, words, spaces=[True, False, False, False, False])
    doc.set_ents([Span(doc, 3, 4, "LOC")])
    DocBin(docs=[doc]).to_disk(path)
    (gold,) = gold_docs(path, read_gold(path, lang="en"), lang="en")
    assert [token.text for token in gold] == words
