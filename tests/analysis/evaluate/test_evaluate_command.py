"""`python -m spacy padellm evaluate` with a small trained model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import spacy
from helpers import DOC_SPANS, GOLD, NESTED, TEXT, gold_doc, lost_server, trained
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli

Golds = Mapping[str, Sequence[tuple[str, str]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    trained().to_disk(folder)
    return str(folder)


def write(path: Path, golds: Golds) -> Path:
    nlp = spacy.blank("en")
    docs = [gold_doc(nlp, text, mentions) for text, mentions in golds.items()]
    DocBin(docs=docs).to_disk(path)
    return path


def evaluate(*arguments: object) -> tuple[int, str]:
    command = ["evaluate", *map(str, arguments)]
    result = CliRunner().invoke(padellm_cli, command)
    return result.exit_code, " ".join(result.output.split())


def test_evaluate_command_prints_all_scores(model: str, tmp_path: Path) -> None:
    corpus = write(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT], NESTED: GOLD[NESTED]})
    code, words = evaluate(model, corpus, "--output", tmp_path / "scores.json")
    assert code == 0, words
    for row in ("Entities (doc.ents)", 'Mentions (doc.spans["padellm"])', "Strings"):
        assert f"{row}" in words
    scores = json.loads((tmp_path / "scores.json").read_text("utf8"))
    assert scores["strings_f"] == scores["spans_padellm_f"] == 1
    assert scores["ents_f"] < 1  # doc.ents has no nested mentions
    assert scores["strings_per_type"]["PER"]["f"] == 1
    assert "100.00" in words


def test_evaluate_command_prints_labels_in_one_order(
    model: str, tmp_path: Path
) -> None:
    _, words = evaluate(model, write(tmp_path / "gold.spacy", GOLD))
    tables = words.split(" by label ")[1:]
    known = {label for mentions in GOLD.values() for _, label in mentions}
    for table in tables:
        found = [word for word in table.split() if word in known]
        assert len(found) > 1
        assert found == sorted(found)
    assert len(tables) == 3


def test_evaluate_command_tells_labels_without_annotation(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mentions = [pair for pair in GOLD[TEXT] if pair[1] == "PER"]
    code, words = evaluate(model, write(tmp_path / "gold.spacy", {TEXT: mentions}))
    assert code == 0, words
    (message,) = (record.getMessage() for record in caplog.records)
    others = sorted({label for _, label in GOLD[TEXT]} - {"PER"})
    assert f"has no mention of {', '.join(others)}, which" in message


def test_evaluate_command_reads_linked_folders(model: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "a.spacy", {TEXT: GOLD[TEXT]})
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold" / "linked").symlink_to(tmp_path / "elsewhere")
    code, words = evaluate(model, tmp_path / "gold")
    assert code == 0, words


def test_evaluate_command_takes_a_folder(model: str, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.spacy", {TEXT: GOLD[TEXT]})
    code, words = evaluate(model, tmp_path)
    assert code == 0, words


@pytest.mark.parametrize(
    ("mentions", "message"),
    [
        ([("Bob", "HUMAN")], "has a label of the pipeline: LOC, ORG, PER"),
        (None, "There is no file"),
    ],
)
def test_evaluate_command_reports_corpora_that_cannot_be_scored(
    model: str,
    tmp_path: Path,
    mentions: list[tuple[str, str]] | None,
    message: str,
) -> None:
    if mentions is not None:
        write(tmp_path / "gold.spacy", {TEXT: mentions})
    code, words = evaluate(model, tmp_path / "gold.spacy")
    assert code == 1
    assert message in words


def test_evaluate_command_without_annotation_is_an_error(
    model: str, tmp_path: Path
) -> None:
    doc = spacy.blank("en")(TEXT)
    doc.spans["sc"] = [doc[:1]]
    DocBin(docs=[doc]).to_disk(tmp_path / "gold.spacy")
    code, words = evaluate(model, tmp_path / "gold.spacy")
    assert code == 1
    assert "Give a corpus with doc.ents or doc.spans['padellm']" in words
    assert "Its Docs have doc.spans['sc']" in words


@pytest.mark.parametrize("name", ["gold.jsonl", "folder"])
def test_evaluate_command_of_other_files_says_how_to_convert(
    model: str, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.touch() if path.suffix else path.mkdir()
    code, words = evaluate(model, path)
    assert code == 1
    assert "is not a .spacy file or a folder of .spacy files. Convert" in words


def test_evaluate_command_does_not_write_over_a_file_of_its_folder(
    tmp_path: Path,
) -> None:
    corpus = write(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    before = corpus.read_bytes()
    code, words = evaluate("bundled-en-sm", tmp_path, "--output", corpus)
    assert code == 1
    assert "is read by this command" in words
    assert corpus.read_bytes() == before


def test_evaluate_command_tells_of_a_server_that_is_lost(tmp_path: Path) -> None:
    trained(decoder=lost_server(), span_getter=DOC_SPANS).to_disk(tmp_path / "nlp")
    corpus = write(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    code, words = evaluate(tmp_path / "nlp", corpus)
    assert code == 1
    assert re.search(r"The server http://127\.0\.0\.1:\d+/v1 (did|cannot)", words)
