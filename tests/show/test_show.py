"""Tests of the page of annotated texts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import DOC_SPANS, GOLD, TEXT, lost_server, pipe_of, trained
from spacy import displacy
from spacy.tokens import Doc
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.mention.calibration import Promise
from spacy_padellm.mention.mention import ScoredSpan
from spacy_padellm.show.input import read_input
from spacy_padellm.show.page import show_texts
from spacy_padellm.show.render import displacy_data, displacy_options
from spacy_padellm.text.doc_mentions import DocMentions
from spacy_padellm.text.write_mentions import write_mentions

NLP = spacy.blank("en")


def annotated(*spans: ScoredSpan, text: str = "Bob & Al in Oslo") -> Doc:
    """A Doc whose mentions with a score from 0.5 on are entities."""
    doc = NLP.make_doc(text)
    labels = {span.label: 0.0 for span in spans}
    write_mentions(
        doc,
        DocMentions(list(spans), candidates=list(spans)),
        spans_key="padellm",
        alignment_mode="expand",
        lowest_score=lambda label: 0.5,
        existing="overwrite",
        promise=Promise("recall", 0.9, 0.9, labels),
    )
    return doc


def span(start: int, end: int, label: str, score: float) -> ScoredSpan:
    return ScoredSpan(start, end, label, score, "exact")


def test_show_data_has_entities_and_unsure_mentions() -> None:
    doc = annotated(span(0, 3, "PER", 0.9), span(12, 16, "LOC", 0.2))
    bob, oslo = displacy_data(doc)["ents"]
    assert (bob["start"], bob["end"], bob["label"]) == (0, 3, "PER")
    assert bob["params"]["score"] == "0.90"
    assert "dashed" not in bob["params"]["style"]
    assert "dashed" in oslo["params"]["style"]


def test_show_data_leaves_out_unsure_mentions_that_overlap() -> None:
    doc = annotated(
        span(0, 3, "PER", 0.9),
        span(0, 8, "ORG", 0.3),
        span(6, 8, "PER", 0.2),
        span(6, 16, "ORG", 0.1),
    )
    ents = displacy_data(doc)["ents"]
    assert [(e["start"], e["end"]) for e in ents] == [(0, 3), (6, 8)]


def test_show_shades_are_fainter_for_lower_scores() -> None:
    doc = annotated(span(0, 3, "PER", 0.9), span(6, 8, "PER", 0.6))
    styles = [ent["params"]["style"] for ent in displacy_data(doc)["ents"]]
    likely, unlikely = (
        sum(bytes.fromhex(re.findall("#([0-9a-f]{6})", style)[0])) for style in styles
    )
    assert likely < unlikely <= 3 * 255


def test_show_data_is_rendered_by_displacy() -> None:
    doc = annotated(span(0, 3, "<i>", 0.9), span(12, 16, "LOC", 0.2))
    options = displacy_options()
    html = displacy.render(
        displacy_data(doc), style="ent", manual=True, jupyter=False, options=options
    )
    assert "&lt;i&gt; 0.90" in html
    assert "<i>" not in html
    assert "&amp; Al in" in html
    assert html.count("<mark") == 2


def test_show_data_of_other_components_has_no_scores() -> None:
    doc = NLP.make_doc("Bob & Al")
    doc.set_ents([doc.char_span(0, 3, label="PER")])
    [ent] = displacy_data(doc)["ents"]
    assert ent["params"]["score"] == ""


def test_show_page_holds_all_there_is_to_know() -> None:
    nlp = trained()
    page = show_texts(nlp, pipe_of(nlp), [TEXT, *list(GOLD)[:1], ""])
    assert page.count("<section>") == 3
    for string, label in GOLD[TEXT]:
        assert string in page
        assert label in page
    assert "probability of a missed one" in page
    assert re.search(r"\d+ ms", page)
    # self-contained
    assert not re.search(r"(src|href)=|url\(|@import", page)


def test_show_page_has_the_labels_in_the_same_order_for_each_text() -> None:
    nlp = trained()
    page = show_texts(nlp, pipe_of(nlp), GOLD)
    rows = re.findall(r"<tr[^>]*><td>(\w+)</td>", page)
    labels = [label for label in pipe_of(nlp).labels if label in rows]
    assert rows == labels * len(GOLD)


def test_show_page_leaves_the_tuning_as_it_was() -> None:
    nlp = trained(threshold={"PER": 1.0})
    tuning = pipe_of(nlp).tuning
    show_texts(nlp, pipe_of(nlp), [TEXT])
    assert pipe_of(nlp).cfg["threshold"] == {"PER": 1.0}
    assert pipe_of(nlp).tuning == tuning


# The input


def texts(text_or_path: str) -> list[str]:
    found = read_input(text_or_path, nlp=NLP)
    return [item.text for item in found if not isinstance(item, BadLine)]


def test_show_reads_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One\ntext", "utf8")
    (tmp_path / "a.jsonl").write_text('{"text": "1"}\n{"text": "2"}\n', "utf8")
    assert texts("A text.") == ["A text."]
    assert texts("word") == ["word"]
    assert texts("x" * 5000) == ["x" * 5000]
    assert texts(str(tmp_path / "a.txt")) == ["One\ntext"]
    assert texts(str(tmp_path / "a.jsonl")) == ["1", "2"]
    assert texts(" ") == []


def test_show_leaves_out_a_text_that_the_tokenizer_takes_too_long_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("(" * 10_001, "utf8")
    (bad,) = read_input(str(tmp_path / "a.txt"), nlp=NLP)
    assert isinstance(bad, BadLine)
    assert bad.reason.startswith("the text has 10001 characters without a blank")


@pytest.mark.parametrize("name", ["no.txt", "no/such.jsonl.gz", "no.spacy"])
def test_show_of_a_missing_file_is_an_error(name: str) -> None:
    with pytest.raises(ConversionError, match="not found"):
        texts(name)


def test_show_of_a_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text;id\nAnna;1\n", "utf8")
    with pytest.raises(ConversionError, match="holds a table, columns or annotation"):
        texts(str(tmp_path / "a.csv"))


def test_show_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    trained().to_disk(tmp_path / "nlp")
    target = tmp_path / "out" / "page.html"
    command = ["show", str(tmp_path / "nlp"), TEXT, "-o", str(target), "--open"]
    result = CliRunner().invoke(padellm_cli, command)
    assert result.exit_code == 0, result.output
    assert opened == [target.as_uri()]
    assert TEXT.split()[0] in target.read_text("utf8")


def test_show_of_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"is a folder\. Give a text, or a file"):
        texts(str(tmp_path))


@pytest.mark.parametrize("command", ["show", "evaluate", "analyze", "tune", "suggest"])
def test_show_and_other_commands_without_a_pipeline_name_the_remedy(
    command: str, tmp_path: Path
) -> None:
    data = tmp_path / "a.spacy"
    data.touch()
    options = ["-o", str(tmp_path / "out")] if command in ("tune", "suggest") else []
    arguments = [command, "no_such", str(data), *options]
    result = CliRunner().invoke(padellm_cli, arguments)
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "The pipeline 'no_such' cannot be loaded" in words
    assert "a bundled model: bundled-en, bundled-en-sm" in words


@pytest.mark.parametrize("text", ["", " ", "empty.txt"])
def test_show_of_no_text_names_the_remedy(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    result = CliRunner().invoke(padellm_cli, ["show", "bundled-en-sm", text])
    assert result.exit_code == 1
    assert "Give a text, a file with one text" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("show", "-o"),
        ("suggest", "-o"),
        ("evaluate", "-o"),
        ("analyze", "--json"),
        ("analyze", "--html"),
        ("tune", "--json"),
    ],
)
def test_show_and_other_commands_do_not_overwrite_their_input(
    command: str, option: str, tmp_path: Path
) -> None:
    data = tmp_path / "texts.spacy"
    data.write_bytes(b"of the user")
    arguments = [command, "bundled-en-sm", str(data), option, str(data)]
    if command == "tune":
        arguments += ["-o", str(tmp_path / "tuned")]
    result = CliRunner().invoke(padellm_cli, arguments)
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "is read by this command. Give another file to write to" in words
    assert data.read_bytes() == b"of the user"


def inputs_of(command: str, source: str, output: str) -> list[str]:
    """The arguments of a command that reads a file."""
    return {
        "convert": [source, output, "--lang", "en"],
        "evaluate": ["bundled-en-sm", source],
        "analyze": ["bundled-en-sm", source],
        "suggest": ["bundled-en-sm", source, "--output", f"{output}.jsonl"],
    }.get(command, ["bundled-en-sm", source, "--output", output])


@pytest.mark.parametrize(
    "command", ["convert", "show", "suggest", "evaluate", "analyze", "tune"]
)
def test_show_and_other_commands_tell_of_a_file_that_may_not_be_read(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def forbidden(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("secret.jsonl"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    source, output = str(tmp_path / "secret.jsonl"), str(tmp_path / "out.spacy")
    result = CliRunner().invoke(
        padellm_cli, [command, *inputs_of(command, source, output)]
    )
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "Permission denied" in words
    assert "secret.jsonl" in words


@pytest.mark.parametrize(
    "command", ["convert", "show", "suggest", "evaluate", "analyze", "tune"]
)
def test_show_and_other_commands_tell_that_a_pipe_is_no_file(
    command: str, tmp_path: Path
) -> None:
    output = str(tmp_path / "out.spacy")
    os.mkfifo(tmp_path / "pipe")
    result = CliRunner().invoke(
        padellm_cli, [command, *inputs_of(command, str(tmp_path / "pipe"), output)]
    )
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "pipe is a pipe, a device or a socket, not a file" in words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_show_on_a_full_disk_is_an_error() -> None:
    command = ["show", "bundled-en-sm", "Anna", "-o", "/dev/full"]
    result = CliRunner().invoke(padellm_cli, command)
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "Cannot write /dev/full: [Errno 28] No space left on device" in words


def test_show_tells_of_a_server_that_is_lost(tmp_path: Path) -> None:
    trained(decoder=lost_server(), span_getter=DOC_SPANS).to_disk(tmp_path / "nlp")
    page = tmp_path / "page.html"
    arguments = ["show", str(tmp_path / "nlp"), TEXT, "--output", str(page)]
    result = CliRunner().invoke(padellm_cli, arguments)
    assert result.exit_code == 1
    assert re.search(r"The server http://127\.0\.0\.1:\d+/v1", result.output)
    assert not page.exists()
