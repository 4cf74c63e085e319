"""Corpora with the spacing of ordinary writing (scripts/ordinary_spacing.py)."""

from __future__ import annotations

from pathlib import Path

import spacy
from new_process import run_python
from spacy.tokens import Doc, DocBin, Span

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "ordinary_spacing.py"


def test_ordinary_spacing_keeps_mentions_and_labels(tmp_path: Path) -> None:
    vocab = spacy.blank("en").vocab
    doc = Doc(
        vocab,
        ["The", "-LRB-", "Bank", "of", "Bonn", "-RRB-", "is", "``", "big", "''", "."],
    )
    doc.set_ents([Span(doc, 2, 5, "ORG")])
    doc.spans["padellm"] = [Span(doc, 2, 5, "ORG"), Span(doc, 4, 5, "LOC")]
    doc.user_data["padellm_labels"] = ["LOC", "ORG"]
    source, output = tmp_path / "source.spacy", tmp_path / "output.spacy"
    DocBin(docs=[doc, Doc(vocab)], store_user_data=True).to_disk(source)
    run_python(SCRIPT, source, output)
    written, empty = DocBin().from_disk(output).get_docs(vocab)
    assert written.text == 'The (Bank of Bonn) is "big".'
    assert [(ent.text, ent.label_) for ent in written.ents] == [("Bank of Bonn", "ORG")]
    assert [span.text for span in written.spans["padellm"]] == ["Bank of Bonn", "Bonn"]
    assert list(written.user_data["padellm_labels"]) == ["LOC", "ORG"]
    assert len(empty) == 0
