"""Files of common tools in tests/cases/convert: what is read, told or refused."""

import base64
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_padellm.corpora.convert import convert
from spacy_padellm.corpora.records import ConversionError

FOLDER = Path(__file__).parents[1] / "cases" / "convert"
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for case in srsly.read_yaml(path)
]


def strings(doc):
    found = [(span.start, span.text, span.label_) for span in doc.spans["padellm"]]
    return sorted(f"{text} {label}" for _, text, label in found)


def run(case, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in case["files"].items():
        (folder / name).write_bytes(content.encode())
    for name, content in case.get("binary", {}).items():
        (folder / name).write_bytes(base64.b64decode(content))
    first = folder / next(iter({**case["files"], **case.get("binary", {})}))
    options = case.get("options", {})
    target = tmp_path / "gold.spacy"
    report = convert(
        folder if case.get("folder") else first,
        target,
        data_format=options.get("format", "auto"),
        lang=options.get("lang", "en"),
        flat=False,
        spans_key="padellm",
        tag_column=options.get("tag_column"),
    )
    vocab = spacy.blank(options.get("lang", "en")).vocab
    return report, list(DocBin().from_disk(target).get_docs(vocab))


@pytest.mark.parametrize("case", CASES)
def test_corpora_case(case, tmp_path):
    if "error" in case:
        with pytest.raises(ConversionError, match=case["error"]):
            run(case, tmp_path)
        return
    report, docs = run(case, tmp_path)
    assert [strings(doc) for doc in docs] == [sorted(doc) for doc in case["docs"]]
    assert [doc.text for doc in docs] == case.get("texts", [doc.text for doc in docs])
    bad = case.get("bad", [])
    assert len(report.bad) == len(bad)
    assert all(part in str(each) for part, each in zip(bad, report.bad, strict=True))
    notes = case.get("notes", {})
    assert len(report.notes) == len(notes)
    assert all(
        count == sum(n for note, n in report.notes.items() if part in note)
        for part, count in notes.items()
    )
