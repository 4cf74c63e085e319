"""Tests of `padellm explain`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers import pipe_of
from spacy.language import Language
from typer.testing import CliRunner

from spacy_padellm.benchmark.measuring.work import count_work
from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.recorder import Recorder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.explain import draw as draw_module
from spacy_padellm.explain.draw import _width, draw, summary
from spacy_padellm.explain.run import explain
from spacy_padellm.explain.trace import (
    DecodingTrace,
    LabelTrace,
    MentionTrace,
    TracedToken,
)
from spacy_padellm.lm import tree_support
from spacy_padellm.pipeline.bundled import load_pipeline

TEXT = "Angela Merkel met Emmanuel Macron in Berlin."
FIRST = Path(__file__).parents[2] / "benchmarks" / "first_sentences.jsonl"


@pytest.fixture(scope="module")
def nlp() -> Language:
    return load_pipeline("bundled-en-sm")


@pytest.fixture
def paper(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> Language:
    """The pipeline with the decoding of the paper, and drafts from the text."""
    monkeypatch.setattr(pipe_of(nlp), "decoder", TreeDecoder())
    return nlp


def traces(
    nlp: Language, text: str, *, all_prompts: bool = False
) -> list[DecodingTrace]:
    return explain(nlp, pipe_of(nlp), text, all_prompts=all_prompts)[1]


@pytest.mark.parametrize("all_prompts", [True, False])
def test_explain_mentions_are_those_of_the_decoder(
    nlp: Language, all_prompts: bool
) -> None:
    pipe = pipe_of(nlp)
    decoder = pipe.decoder
    if all_prompts:
        decoder = replace(decoder, sure_tag_probability=1.0)
    lines = FIRST.read_text("utf8").splitlines()[:12]
    for text in [json.loads(line)["text"] for line in lines]:
        recorder = Recorder(decoder)
        pipe.decoder, decoder_before = recorder, pipe.decoder
        try:
            nlp(text)
        finally:
            pipe.decoder = decoder_before
        found = {
            trace.text: trace.mentions
            for trace in traces(nlp, text, all_prompts=all_prompts)
        }
        assert {text: list(ms) for text, ms in recorder.found.items()} == found


def test_explain_counts_the_passes_of_the_model(nlp: Language) -> None:
    lm = pipe_of(nlp).handle.lm()
    with count_work(lm) as work:
        nlp(TEXT)
    (trace,) = traces(nlp, TEXT)
    assert len(trace.passes) == work.passes
    assert trace.tokens <= work.tokens


def test_explain_labels_with_sure_tags_have_no_prompt(nlp: Language) -> None:
    (trace,) = traces(nlp, TEXT)
    assert {label.number for label in trace.labels} == {0}
    assert trace.separate_tokens == 0


def test_explain_all_prompts_shows_each_label(nlp: Language) -> None:
    (trace,) = traces(nlp, TEXT, all_prompts=True)
    counts = {label.label: label.count for label in trace.labels}
    assert counts == {"PER": 2, "LOC": 1, "ORG": 0, "MISC": 0}
    assert {label.number for label in trace.labels} == {2}
    assert trace.separate_tokens > trace.tokens
    assert trace.drafts() == (9, 9)


def test_explain_pieces_are_those_of_the_mentions(paper: Language) -> None:
    (trace,) = traces(paper, TEXT)
    found = [
        "".join(token.text for token in mention.tokens if token.origin != "rejected")
        for label in trace.labels
        for mention in label.mentions
        if mention.kept
    ]
    assert [text.strip() for text in found] == [m.text for m in trace.mentions]


def test_explain_shows_drafts_that_were_rejected(paper: Language) -> None:
    lines = FIRST.read_text("utf8").splitlines()[:12]
    found = [
        trace.drafts()
        for line in lines
        for trace in traces(paper, json.loads(line)["text"])
    ]
    assert any(accepted < drafted for accepted, drafted in found)
    assert all(accepted <= drafted for accepted, drafted in found)


def test_explain_long_texts_have_a_trace_for_each_window(nlp: Language) -> None:
    assert len(traces(nlp, f"{TEXT} " * 6)) > 1


def test_explain_leaves_the_decoder_as_it_is(nlp: Language) -> None:
    before = pipe_of(nlp).decoder
    traces(nlp, TEXT, all_prompts=True)
    assert pipe_of(nlp).decoder is before


def test_explain_names_a_decoder_without_trees(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_of(nlp), "decoder", BatchDecoder())
    with pytest.raises(ValueError, match="BatchDecoder"):
        traces(nlp, TEXT)


def test_explain_needs_trees_only_where_the_decoder_does(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, text = pipe_of(nlp), f"{TEXT[:-1]} with Internationalization."
    lm, names = pipe.handle.lm(), list(pipe.label_data.values())
    monkeypatch.setattr(pipe, "decoder", TreeDecoder(max_mention_tokens=1))
    assert pipe.prompt is not None
    (count_prompts,) = lm.tokens_of(pipe.prompt).count_prompts([text], names)
    # a count and an index of 6 tokens, and a mention
    longest = len(count_prompts.root) + max(map(len, count_prompts.labels)) + 2 * 6 + 1
    assert longest < len(text)
    limits = {"sliding_window": longest}
    monkeypatch.setattr(tree_support, "_limits", lambda config: limits)
    assert len(traces(nlp, text)) == 1
    limits["sliding_window"] = longest - 1
    with pytest.raises(ValueError, match=f"a text of {longest} tokens is longer"):
        traces(nlp, text)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_explain_needs_words(nlp: Language, text: str) -> None:
    with pytest.raises(ValueError, match="no words"):
        traces(nlp, text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "<b>Bob</b> & \"Al\" in 'Oslo'",
        "\x00\x1b[31mBob\ufffe",
        "李明在北京大学工作，他的同事安娜在柏林。" * 3,
        "x" * 300,
        "\u202eright to left \U0001f600",
        "]]><![CDATA[ Anna",
    ],
)
def test_explain_draws_xml_of_any_text(text: str) -> None:
    tokens = [TracedToken(text, "rejected", 1), TracedToken(text, "generated", 2)] * 4
    label = LabelTrace("A", text, 1, 5, [MentionTrace(1, tokens, 6, True)])
    trace = DecodingTrace(text, [label, LabelTrace("B", "sure")], [9, 3], [])
    root = ElementTree.fromstring(draw([trace, trace]))
    assert root.tag.endswith("svg")
    boxes = root.findall("{*}rect")
    for box in boxes[1:]:
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= 960


def test_explain_summary_is_in_words() -> None:
    token = TracedToken("Bob", "accepted", 2)
    label = LabelTrace("A", "a", 1, 5, [MentionTrace(1, [token], 7, True)])
    trace = DecodingTrace("Bob", [label], [6, 3], [])
    assert summary(trace) == (
        "2 forward passes, 9 tokens (6 + 3); as separate sequences 14; 1 of 1 drafted "
        "tokens accepted"
    )
    assert summary(DecodingTrace("", [], [4], [])) == "1 forward pass, 4 tokens"


def test_explain_command_prints_and_draws(tmp_path: Path) -> None:
    output = tmp_path / "new" / "tree.svg"
    result = CliRunner().invoke(
        padellm_cli, ["explain", "bundled-en-sm", TEXT, "--output", str(output)]
    )
    assert result.exit_code == 0
    assert "Emmanuel Macron (PER)" in result.output
    assert "1 forward pass" in result.output
    assert "Merkel" in output.read_text("utf8")


@pytest.mark.parametrize("name", ["tree.pdf", "tree.svg.png", "tree.html.gz"])
def test_explain_command_writes_no_other_format(tmp_path: Path, name: str) -> None:
    output = tmp_path / "new" / name
    result = CliRunner().invoke(
        padellm_cli, ["explain", "bundled-en-sm", TEXT, "--output", str(output)]
    )
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "Give the path of a file that ends in .svg" in words
    assert not output.parent.exists()


def test_explain_command_reports_errors(tmp_path: Path) -> None:
    result = CliRunner().invoke(padellm_cli, ["explain", str(tmp_path / "none"), TEXT])
    assert result.exit_code == 1
    assert "none" in result.output


def test_explain_draws_long_words_in_linear_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[int] = []

    def width(words: str) -> float:
        measured.append(len(words))
        return _width(words)

    monkeypatch.setattr(draw_module, "_width", width)
    work = []
    for size in (10_000, 20_000):
        measured.clear()
        draw([DecodingTrace("x" * size, [], [1], [])])
        work.append(sum(measured))
    assert 0 < work[1] < 2.2 * work[0]
