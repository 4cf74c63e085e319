"""`python -m spacy padellm convert`: report, exit codes and errors."""

import pytest
import spacy
from spacy.cli import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.text.labels import LABELS_KEY

GOOD = '{"text": "Bo ran", "spans": [[0, 2, "PER"]]}\n'


def invoke(tmp_path, content, *options, data_format="jsonl"):
    source = tmp_path / "a.jsonl"
    source.write_text(content, encoding="utf-8")
    target = tmp_path / "new" / "gold.spacy"
    arguments = ["padellm", "convert", str(source), str(target)]
    arguments += ["--format", data_format, "--lang", "en", *options]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, " ".join(result.output.split()), target


def test_corpora_cli_is_a_group_of_spacys_app():
    groups = [group.typer_instance for group in app.registered_groups]
    assert groups.count(padellm_cli) == 1


def test_corpora_cli_reports_counts(tmp_path):
    nested = '{"text": "Bo Lee", "spans": [[0, 6, "PER"], [3, 6, "X"], [3, 6, "X"]]}\n'
    code, output, target = invoke(tmp_path, GOOD + nested)
    assert code == 0
    assert "2 docs with 3 mentions" in output
    assert "PER 2 X 1" in output
    assert "Overlapping mentions: 1 nested" in output
    assert "Exact duplicates merged: 1" in output
    assert target.exists()


def test_corpora_cli_reports_split_tokens(tmp_path):
    code, output, _ = invoke(tmp_path, '{"text": "Boran", "spans": [[0, 2, "PER"]]}')
    assert code == 0
    assert "tokens split at a mention's edge: 1" in output


def test_corpora_cli_bad_lines_exit_with_one(tmp_path):
    code, output, target = invoke(tmp_path, GOOD + "x\n" * 12)
    assert code == 1
    assert "Bad lines left out: 12" in output
    assert f"{tmp_path / 'a.jsonl'}:2: not one JSON value a line" in output
    assert output.count("a.jsonl:") == 10
    assert target.exists()


def test_corpora_cli_skip_bad_exits_with_zero(tmp_path):
    code, output, _ = invoke(tmp_path, GOOD + "x\n", "--skip-bad")
    assert code == 0
    assert "Bad lines left out: 1" in output


def test_corpora_cli_error_names_remedy(tmp_path):
    code, output, target = invoke(tmp_path, GOOD, data_format="xml")
    assert code == 1
    assert "Unknown format 'xml'. Choose one of: auto, paper, conll" in output
    assert not target.exists()


@pytest.mark.parametrize("column", ["-1", "1"])
def test_corpora_cli_takes_column_numbers(tmp_path, column):
    options = ("--flat", "--tag-column", column, "--token-column", "0")
    code, output, _ = invoke(tmp_path, "Bo B-PER\n", *options, data_format="conll")
    assert code == 0
    assert "1 docs with 1 mentions" in output


def test_corpora_cli_own_labels(tmp_path):
    code, _, target = invoke(tmp_path, GOOD, "--own-labels")
    (doc,) = DocBin().from_disk(target).get_docs(spacy.blank("en").vocab)
    assert code == 0
    assert list(doc.user_data[LABELS_KEY]) == ["PER"]


def test_corpora_cli_renames_labels(tmp_path):
    code, output, target = invoke(
        tmp_path, GOOD, "--own-labels", "--rename", "PER=a person"
    )
    (doc,) = DocBin().from_disk(target).get_docs(spacy.blank("en").vocab)
    assert code == 0
    assert "a person" in output
    assert {span.label_ for span in doc.spans["padellm"]} == {"a person"}
    assert list(doc.user_data[LABELS_KEY]) == ["a person"]


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ("PER", "old=new"),
        ("PRE=person", "no mention of the labels PRE"),
        ("PER=person, PER=human", "'PER' two names: 'person' and 'human'"),
    ],
)
def test_corpora_cli_reports_a_wrong_rename(tmp_path, rename, message):
    code, output, target = invoke(tmp_path, GOOD, "--rename", rename)
    assert code == 1
    assert message in " ".join(output.split())
    assert not target.exists()


def test_corpora_cli_counts_changes(tmp_path):
    code, output, _ = invoke(tmp_path, '{"text": "Bo ran", "spans": [[0, 3, "PER"]]}')
    assert code == 0
    assert "Mentions trimmed of blanks at their edges: 1" in output


def test_corpora_cli_recognizes_the_format(tmp_path):
    source, target = tmp_path / "a.txt", tmp_path / "gold.spacy"
    source.write_text("Bo\tB-PER\nran\tO\n", encoding="utf-8")
    arguments = ["padellm", "convert", str(source), str(target), "--lang", "de"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert target.exists()
