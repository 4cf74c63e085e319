"""The bundled model's training corpus (scripts/mixed_corpus.py, scripts/names.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import spacy
from new_process import run_python
from spacy.tokens import Doc, DocBin, Span

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
WORDS = ["Anna", "Smith", "flew", "to", "Oslo", ",", "alone", "."]
LISTED = ["Quentin Zzyzx", "Xanthe"]


def run(script: str, *args: Path | str) -> None:
    run_python(SCRIPTS / script, *args)


def mixed(folder: Path, *options: Path | str) -> list[Doc]:
    """What is made of forty sentences with a person and a place."""
    nlp = spacy.blank("en")
    corpus = DocBin()
    for _ in range(40):
        doc = Doc(nlp.vocab, WORDS)
        doc.ents = [Span(doc, 0, 2, "person"), Span(doc, 4, 5, "location")]
        corpus.add(doc)
    corpus.to_disk(folder / "gold.spacy")
    run("mixed_corpus.py", folder / "mixed.spacy", folder / "gold.spacy", *options)
    return list(DocBin().from_disk(folder / "mixed.spacy").get_docs(nlp.vocab))


def names(docs: Iterable[Doc], label: str) -> set[str]:
    return {ent.text.lower() for doc in docs for ent in doc.ents if ent.label_ == label}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    pytest.importorskip("pytickersymbols")  # which needs Python 3.11
    path = tmp_path_factory.mktemp("names") / "names.json"
    run("names.py", path)
    found: dict[str, list[str]] = json.loads(path.read_text("utf8"))
    return found


def test_mixed_corpus_mentions_keep_their_places_among_other_names(
    tmp_path: Path,
) -> None:
    for doc in mixed(tmp_path):
        rest = [token.text.lower() for token in doc if not token.ent_type_]
        assert set(rest) == {"flew", "to", ",", "alone", "."}
        assert len(rest) == 5 * sum(token.text == "." for token in doc)


def test_mixed_corpus_has_running_text_as_well(tmp_path: Path) -> None:
    texts = [doc.text.lower() for doc in mixed(tmp_path)]
    assert any("oslo , alone ." in text for text in texts)
    assert any("oslo, alone. anna" in text for text in texts)


def test_mixed_corpus_takes_names_from_lists(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"PER": LISTED}), "utf8")
    docs = mixed(tmp_path, "--names", path)
    listed = {name.lower() for name in LISTED}
    assert listed < names(docs, "PER")
    assert not listed & names(docs, "LOC")


def test_mixed_corpus_lists_hold_names_of_each_kind(
    lists: dict[str, list[str]],
) -> None:
    assert set(lists) == {"PER", "LOC", "ORG"}
    assert {"Norway", "Texas", "London"} <= set(lists["LOC"])
    assert any(name.startswith("University of ") for name in lists["ORG"])
    assert {"Siemens", "Nike"} <= set(lists["ORG"])
    assert "Smith" in {name.split()[-1] for name in lists["PER"]}
    assert all(name == name.strip() != "" for kind in lists.values() for name in kind)


def test_mixed_corpus_lists_draw_large_places_more_often(
    lists: dict[str, list[str]],
) -> None:
    assert lists["LOC"].count("London") > lists["LOC"].count("Oslo") > 0
