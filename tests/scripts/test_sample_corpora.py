"""A balanced sample of corpora with labels of their own (scripts/sample_corpora.py)."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import spacy
from new_process import run_python
from spacy.tokens import Doc, DocBin, Span

from spacy_padellm.text.labels import LABELS_KEY

pytestmark = pytest.mark.slow  # each test starts Python
SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "sample_corpora.py"


def write(path: Path, label: str, *, texts: int) -> None:
    vocab = spacy.blank("en").vocab
    corpus = DocBin(store_user_data=True)
    for number in range(texts):
        doc = Doc(vocab, ["Oslo", label, str(number)])
        doc.spans["padellm"] = [Span(doc, 0, 1, label)]
        doc.user_data[LABELS_KEY] = [label]
        corpus.add(doc)
    corpus.to_disk(path)


def test_sample_corpora_cuts_large_ones_and_repeats_small_ones(tmp_path: Path) -> None:
    sizes = {"large": 30, "middle": 7, "small": 2}
    for label, texts in sizes.items():
        write(tmp_path / f"{label}.spacy", label, texts=texts)
    output = tmp_path / "out" / "mixed.spacy"
    run_python(SCRIPT, output, tmp_path, "--most", "10", "--times", "3")
    docs = list(DocBin().from_disk(output).get_docs(spacy.blank("en").vocab))
    labels = [doc.spans["padellm"][0].label_ for doc in docs]
    assert Counter(labels) == {"large": 10, "middle": 7, "small": 6}
    assert [list(doc.user_data[LABELS_KEY]) for doc in docs] == [[x] for x in labels]
    assert labels != sorted(labels)
    large = [doc.text for doc in docs if doc.text.startswith("Oslo large")]
    assert len(set(large)) == 10


def test_sample_corpora_needs_corpora_with_labels_of_their_own(tmp_path: Path) -> None:
    output = tmp_path / "out" / "mixed.spacy"

    def mistake() -> str:
        command = [sys.executable, str(SCRIPT), str(output), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert not output.exists()
        return done.stderr

    assert "no .spacy files" in mistake()
    write(tmp_path / "good.spacy", "PER", texts=1)
    doc = Doc(spacy.blank("en").vocab, ["Oslo"])
    DocBin(docs=[doc]).to_disk(tmp_path / "plain.spacy")
    assert "plain.spacy has no labels of its own" in mistake()
