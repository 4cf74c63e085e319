"""Texts of several sentences (scripts/paragraphs.py)."""

from __future__ import annotations

from pathlib import Path

import spacy
from new_process import run_python
from spacy.tokens import Doc, DocBin

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "paragraphs.py"


def test_paragraphs_join_sentences_with_their_entities(tmp_path: Path) -> None:
    vocab = spacy.blank("en").vocab
    docs = [
        Doc(vocab, ["About", "Bonn"], ents=["O", "B-LOC"]),
        Doc(vocab),
        Doc(vocab, ["Anna", "Smith", "left", "."], ents=["B-PER", "I-PER", "O", "O"]),
        Doc(vocab, ["Why", "?"]),
        Doc(vocab, ["Bob", "knows"], ents=["B-PER", "O"]),
    ]
    source, output = tmp_path / "source.spacy", tmp_path / "output.spacy"
    DocBin(docs=docs).to_disk(source)
    run_python(SCRIPT, source, output, "--size", "3")
    first, second = DocBin().from_disk(output).get_docs(vocab)
    assert first.text.strip() == "About Bonn\nAnna Smith left . Why ?"
    assert [(e.text, e.label_) for e in first.ents] == [
        ("Bonn", "LOC"),
        ("Anna Smith", "PER"),
    ]
    assert second.text.strip() == "Bob knows"
