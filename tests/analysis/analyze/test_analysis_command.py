"""`python -m spacy padellm analyze` with a small trained model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import (
    DOC_SPANS,
    GOLD,
    LABELS,
    REFUSING,
    TEXT,
    TOO_LONG,
    gold_doc,
    pipe_of,
    trained,
)
from spacy.tokens import DocBin
from spacy.util import registry
from typer.testing import CliRunner

from spacy_padellm.analysis.collect import AnalysedDoc, collect_docs
from spacy_padellm.analysis.inputs import GoldDoc
from spacy_padellm.analysis.kinds import GoldMention
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.decoding.base import decode
from spacy_padellm.mention.calibration import Calibration, Tuning
from spacy_padellm.text.span_getters import SpanGetter

Golds = Mapping[str, Sequence[tuple[str, str]]]
ACME = "Acme hired Bob in London ."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The trained pipeline, with one window per Doc."""
    nlp = trained(span_getter=REFUSING, labels=LABELS)
    folder = tmp_path_factory.mktemp("model")
    nlp.to_disk(folder)
    return str(folder)


def write_corpus(path: Path, golds: Golds, *, empty: Sequence[str] = ()) -> Path:
    nlp = spacy.blank("en")
    docs = [gold_doc(nlp, text, mentions) for text, mentions in golds.items()]
    DocBin(docs=[*docs, *map(nlp.make_doc, empty)]).to_disk(path)
    return path


def invoke(*arguments: str | Path) -> tuple[int, str]:
    command = ["analyze", *map(str, arguments)]
    result = CliRunner().invoke(padellm_cli, command)
    return result.exit_code, " ".join(result.output.split())


def figures(model: str, folder: Path, golds: Golds, *options: str) -> dict[str, Any]:
    corpus = write_corpus(folder / "gold.spacy", golds)
    code, output = invoke(model, corpus, "--json", folder / "out.json", *options)
    assert code == 0, output
    loaded = json.loads((folder / "out.json").read_text("utf8"))
    assert isinstance(loaded, dict)
    return loaded


def strided(window: int, stride: int) -> dict[str, Any]:
    getter = "spacy-padellm.strided_spans.v1"
    return {"@span_getters": getter, "window": window, "stride": stride}


@pytest.mark.parametrize("with_others", [False, True])
def test_analysis_command_leaves_out_labels_that_a_text_does_not_annotate(
    model: str, tmp_path: Path, with_others: bool
) -> None:
    nlp = spacy.blank("en")
    docs = []
    for label in ("PER", "LOC"):
        mentions = [pair for pair in GOLD[TEXT] if with_others or pair[1] == label]
        docs.append(gold_doc(nlp, TEXT, mentions))
        docs[-1].user_data["padellm_labels"] = [label]
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "gold.spacy")
    code, output = invoke(
        model, tmp_path / "gold.spacy", "--json", tmp_path / "out.json"
    )
    assert code == 0, output
    found = json.loads((tmp_path / "out.json").read_text("utf8"))["all"]
    assert found["predicted"]["correct"] == len(GOLD[TEXT])
    assert found["predicted"]["spurious"] == 0
    assert found["counts"]["too_high"] == 0


def test_analysis_command_finds_no_error_where_there_is_none(
    model: str, tmp_path: Path
) -> None:
    found = figures(model, tmp_path, {TEXT: GOLD[TEXT], ACME: GOLD[ACME]})
    mentions = len(GOLD[TEXT]) + len(GOLD[ACME])
    assert found["all"]["predicted"]["correct"] == mentions
    assert found["all"]["gold"] == {
        "total": mentions,
        "correct": mentions,
        "index": 0,
        "label": 0,
        "boundary": 0,
        "missed": 0,
    }
    assert found["all"]["counts"]["right"] == 2 * len(LABELS)
    assert found["all"]["f1"] == 1


def test_analysis_command_sorts_errors_into_kinds(model: str, tmp_path: Path) -> None:
    # the model finds Anna Smith, Bob and Paris, unlike the gold annotation
    gold = [("Anna", "PER"), ("met", "PER"), ("Bob", "ORG"), ("in", "LOC")]
    found = figures(model, tmp_path, {TEXT: gold})
    per, org, loc = (found["labels"][label] for label in ("PER", "ORG", "LOC"))
    assert (per["predicted"]["boundary"], per["predicted"]["label"]) == (1, 1)
    assert (per["gold"]["boundary"], per["gold"]["missed"]) == (1, 1)
    assert org["gold"]["label"] == 1
    assert (loc["predicted"]["spurious"], loc["gold"]["missed"]) == (1, 1)
    assert (org["counts"]["too_low"], per["counts"]["right"]) == (1, 1)
    assert found["confusions"] == [{"gold": "ORG", "predicted": "PER", "mentions": 1}]
    assert found["all"]["calibration"]["spans"] == 3
    assert found["all"]["calibration"]["expected_calibration_error"] > 0.5


def test_analysis_command_writes_a_page(model: str, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: [("Anna", "PER")]})
    code, output = invoke(model, corpus, "--html", tmp_path / "new" / "page.html")
    page = (tmp_path / "new" / "page.html").read_text("utf8")
    assert (code, page.count("<svg")) == (0, 3), output
    assert "boundary; gold: PER" in page


def test_analysis_command_labels_and_names(model: str, tmp_path: Path) -> None:
    golds = {TEXT: [("Anna Smith", "human"), ("Bob", "human"), ("met", "verb")]}
    options = ("--labels", "PER", "--rename", "human=PER")
    found = figures(model, tmp_path, golds, *options)
    assert list(found["labels"]) == ["PER"]
    assert found["all"]["predicted"]["correct"] == found["all"]["gold"]["total"] == 2
    assert found["other_labels"] == {"verb": 1}


def test_analysis_command_leaves_out_labels_without_mentions(
    model: str, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    options = ("--json", tmp_path / "out.json", "--html", tmp_path / "page.html")
    code, output = invoke(model, corpus, *options)
    assert code == 0, output
    found = json.loads((tmp_path / "out.json").read_text("utf8"))
    assert set(found["labels"]) == {"LOC", "PER"} < set(LABELS)
    page = (tmp_path / "page.html").read_text("utf8")
    for shown in (output, page):
        assert "LOC" in shown
        assert "ORG" not in shown


def test_analysis_command_limit(model: str, tmp_path: Path) -> None:
    assert figures(model, tmp_path, GOLD, "--limit", "2")["texts"] == 2


def test_analysis_command_leaves_out_texts_without_annotation(
    model: str, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "a.spacy", {TEXT: GOLD[TEXT]}, empty=["Hi ."])
    code, output = invoke(model, corpus)
    assert code == 0
    assert "1 text(s) without complete gold annotation" in output


def test_analysis_command_leaves_out_texts_that_fail(
    model: str, tmp_path: Path
) -> None:
    golds = {TOO_LONG: [("Bob", "PER")], TEXT: GOLD[TEXT]}
    corpus = write_corpus(tmp_path / "a.spacy", golds)
    code, output = invoke(model, corpus)
    assert code == 0
    assert "1 text(s) could not be decoded and were left out" in output
    assert "The test refuses this Doc" in output


def test_analysis_command_counts_mentions_that_are_in_no_window(tmp_path: Path) -> None:
    trained(span_getter=strided(3, 3), labels=LABELS).to_disk(tmp_path / "nlp")
    # the windows are "Anna Smith met", "Bob in Paris" and "."
    gold = [("Anna Smith", "PER"), ("met Bob", "PER"), ("Bob in Paris", "LOC")]
    found = figures(str(tmp_path / "nlp"), tmp_path, {TEXT: gold})
    assert (found["windows"], found["cut_mentions"]) == (3, 1)
    assert found["all"]["gold"]["total"] == 2


def test_analysis_command_counts_mentions_in_overlaps_once(tmp_path: Path) -> None:
    # the windows are "Anna Smith met Bob in Paris" and "Smith met Bob in Paris ."
    trained(span_getter=strided(6, 1), labels=LABELS).to_disk(tmp_path / "nlp")
    found = figures(str(tmp_path / "nlp"), tmp_path, {TEXT: GOLD[TEXT]})
    assert (found["windows"], found["cut_mentions"]) == (2, 0)
    assert found["all"]["gold"]["total"] == len(GOLD[TEXT])
    assert found["all"]["f1"] == 1
    assert found["all"]["predicted"]["total"] == len(GOLD[TEXT])


def test_analysis_command_takes_a_part_of_a_cut_mention_for_no_error(
    tmp_path: Path,
) -> None:
    # the windows are "Anna Smith met Bob in Paris" and "."
    trained(span_getter=strided(6, 6), labels=LABELS).to_disk(tmp_path / "nlp")
    gold = [("Anna Smith", "PER"), ("Bob", "PER"), ("Paris .", "LOC")]
    found = figures(str(tmp_path / "nlp"), tmp_path, {TEXT: gold})
    assert (found["windows"], found["cut_mentions"]) == (2, 1)
    assert found["all"]["predicted"]["total"] == 2
    assert found["all"]["f1"] == 1
    counts = found["all"]["counts"]
    assert counts["right"] == counts["pairs"]


@pytest.mark.parametrize("window", range(2, 8))
def test_analysis_counts_each_gold_mention_in_one_window(window: int) -> None:
    words = TEXT.split()
    starts = [TEXT.index(word) for word in words]
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    golds = [
        GoldMention(start, end, "PER")
        for start in starts
        for end in ends
        if start < end
    ]
    for stride in range(1, window + 1):
        nlp = trained(span_getter=strided(window, stride))
        docs = [GoldDoc(TEXT, golds)]
        (read,) = collect_docs(nlp, pipe_of(nlp), docs, labels=("PER",))
        assert isinstance(read, AnalysedDoc)
        own = [set(case.golds) - case.elsewhere for case in read.windows]
        assert sum(map(len, own)) == len(golds) - read.cut


def test_analysis_records_the_output_of_the_decoder() -> None:
    nlp = trained(span_getter=DOC_SPANS)
    pipe = pipe_of(nlp)
    decoder = pipe.decoder
    texts = list(GOLD)
    golds = [GoldDoc(text, []) for text in texts]
    read = list(collect_docs(nlp, pipe, golds, labels=pipe.labels))
    lm = pipe.handle.lm()
    assert pipe.prompt is not None
    expected = decode(decoder, lm, lm.tokens_of(pipe.prompt), texts, pipe.label_data)
    found = [
        case for doc in read if isinstance(doc, AnalysedDoc) for case in doc.windows
    ]
    assert [case.text for case in found] == texts
    assert [case.mentions for case in found] == expected
    assert pipe.decoder is decoder


def test_analysis_compares_calibrated_scores_with_thresholds() -> None:
    nlp = trained(span_getter=DOC_SPANS)
    pipe = pipe_of(nlp)
    pipe.set_tuning(Tuning(dict.fromkeys(pipe.labels, 0.5), Calibration(offset=-30.0)))
    (read,) = collect_docs(nlp, pipe, [GoldDoc(TEXT, [])], labels=pipe.labels)
    assert isinstance(read, AnalysedDoc)
    assert [case.mentions for case in read.windows] == [[]]


def test_analysis_takes_the_spans_of_the_pipes_before() -> None:
    @registry.span_getters("tests.sentences.v1")
    def make_sentences() -> SpanGetter:
        return lambda docs: [list(doc.sents) for doc in docs]

    nlp = trained(span_getter={"@span_getters": "tests.sentences.v1"})
    nlp.add_pipe("sentencizer", first=True)
    golds = [GoldDoc(f"{TEXT} {ACME}", [])]
    (read,) = collect_docs(nlp, pipe_of(nlp), golds, labels=("PER",))
    assert isinstance(read, AnalysedDoc)
    assert [case.text for case in read.windows] == [TEXT, ACME]


def test_analysis_command_pipeline_whose_windows_are_of_pipes_before(
    tmp_path: Path,
) -> None:
    pytest.importorskip("spacy_transformers")
    nlp = trained(span_getter={"@span_getters": "spacy-transformers.sent_spans.v1"})
    nlp.add_pipe("sentencizer", first=True)
    nlp.to_disk(tmp_path / "nlp")
    code, output = invoke(tmp_path / "nlp", write_corpus(tmp_path / "g.spacy", GOLD))
    assert code == 0, output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "PER,XYZ"), "Give --labels as a comma-separated list of: LOC"),
        (("--labels", ""), "Give --labels as"),
        (("--rename", "person"), "Cannot read 'person' of --rename. Give pairs"),
        (("--json", "."), "Cannot write .: it is a folder. Give a file"),
    ],
)
def test_analysis_command_wrong_option(
    model: str, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    code, output = invoke(model, corpus, *options)
    assert code == 1
    assert message in output


def test_analysis_command_writes_two_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    page = tmp_path / "link" / "out.json"
    options = ("--json", tmp_path / "out.json", "--html", page)
    code, output = invoke("bundled-en-sm", tmp_path / "gold.spacy", *options)
    assert code == 1
    assert "--json and --html name the same file" in output


def test_analysis_command_missing_data(model: str, tmp_path: Path) -> None:
    code, output = invoke(model, tmp_path / "no.spacy")
    assert code == 1
    assert "There is no file" in output


@pytest.mark.parametrize("keep", [0, 40])
def test_analysis_command_broken_data(model: str, tmp_path: Path, keep: int) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    corpus.write_bytes(corpus.read_bytes()[:keep])
    code, output = invoke(model, corpus)
    assert code == 1
    assert "as a .spacy file" in output


def test_analysis_command_data_without_annotation(model: str, tmp_path: Path) -> None:
    code, output = invoke(model, write_corpus(tmp_path / "a.spacy", {}, empty=["Hi"]))
    assert code == 1
    assert "None of the 1 texts" in output


def test_analysis_command_every_text_fails(model: str, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TOO_LONG: [("Bob", "PER")]})
    code, output = invoke(model, corpus)
    assert code == 1
    assert "None of the 1 texts could be decoded" in output


def test_analysis_command_pipeline_without_the_component(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "nlp")
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    code, output = invoke(tmp_path / "nlp", corpus)
    assert code == 1
    assert "has no component 'padellm_ner'" in output
    assert "sentencizer" in output


def test_analysis_command_no_such_pipeline(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: GOLD[TEXT]})
    code, output = invoke("no_such_pipeline", corpus)
    assert code == 1
    assert "[E050]" in output


def test_analysis_command_takes_the_bundled_model(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "gold.spacy", {"Paris , France .": []})
    code, output = invoke("bundled-en-sm", corpus)
    assert code == 0
    assert "1 texts as 1 windows: bundled-en-sm" in output


def test_analysis_kinds_import_neither_spacy_nor_torch() -> None:
    code = (
        "import sys\n"
        "import spacy_padellm.analysis.reliability\n"
        "from spacy_padellm.analysis.analyze import examples, report, tally\n"
        "assert not {'spacy', 'thinc', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("labels", [None, "PER"])
def test_analysis_command_without_a_shared_label_is_an_error(
    model: str, tmp_path: Path, labels: str | None
) -> None:
    other = "LOC" if labels else "HUMAN"
    corpus = write_corpus(tmp_path / "gold.spacy", {TEXT: [("Paris", other)]})
    code, output = invoke(model, corpus, *(["--labels", labels] if labels else []))
    assert code == 1
    assert "use --rename" in output
    assert "Spans" not in output


def test_analysis_command_takes_texts_without_any_mention(
    model: str, tmp_path: Path
) -> None:
    found = figures(model, tmp_path, {TEXT: []})
    assert found["all"]["predicted"]["spurious"] == len(GOLD[TEXT])
