"""Tests of the choice of texts to annotate."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import GOLD, TEXT, pipe_of, trained
from spacy.tokens import DocBin, Span, SpanGroup
from typer.testing import CliRunner

from spacy_padellm.cli.app import padellm_cli
from spacy_padellm.corpora.convert import convert
from spacy_padellm.corpora.files import read_text
from spacy_padellm.corpora.mentions.annotators import USER_KEYS
from spacy_padellm.corpora.readers.rows.label_studio import MIN_KEYS
from spacy_padellm.corpora.readers.rows.span_rows import KEYS, TEXT_KEYS
from spacy_padellm.corpora.records import BadLine, ConversionError
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.suggest import run
from spacy_padellm.suggest.formats import Suggestion, Tool, write_suggestions
from spacy_padellm.suggest.run import POOL, suggest
from spacy_padellm.suggest.spread import choose_spread
from spacy_padellm.suggest.texts import SourceText, read_texts
from spacy_padellm.suggest.usefulness import correction_probability

MENTIONS = [(0, 3, "PER", 0.8123456), (7, 11, "LOC", 0.5)]
SUGGESTION = Suggestion("Bob in Oslo .", MENTIONS, 0.75, {"id": 7, "label": "news"})
AS_IT_IS: dict[str, Any] = {
    "data_format": "auto",
    "lang": "en",
    "flat": False,
    "spans_key": "padellm",
}


# Spread


def test_spread_takes_the_most_useful_of_different_texts_first() -> None:
    texts = ["one apple", "two pears", "three plums"]
    assert choose_spread(texts, [0.2, 0.9, 0.5], n=2) == [1, 2]


def test_spread_prefers_a_different_text_to_a_slightly_more_useful_one() -> None:
    texts = ["Ajax beat Real 3 - 1", "Ajax beat Inter 2 - 1", "Oil prices fell"]
    assert choose_spread(texts, [0.9, 0.8, 0.7], n=2) == [0, 2]


def test_spread_takes_a_repeated_text_once() -> None:
    texts = ["Ajax won", "Ajax won", "Ajax lost"]
    assert choose_spread(texts, [0.9, 0.9, 0.1], n=3) == [0, 2]


@pytest.mark.parametrize("texts", [[], ["..."], ["a", "b"], ["北京大学", "北京"]])
def test_spread_of_fewer_texts_than_requested_is_all(texts: list[str]) -> None:
    assert sorted(choose_spread(texts, [0.0] * len(texts), n=5)) == [*range(len(texts))]


@pytest.mark.parametrize(
    "texts",
    [
        ["他在北京大学", "她在北京大学", "油价下跌"],
        ["มหาวิทยาลัย", "มหาวิทยาลัยไทย", "น้ำมัน"],
        ["ကီမူ", "ကီမူနေ", "ကုမာ"],
        ["កីមូ", "កីមូនេ", "កុមា"],
        ["ｱﾝｹﾞﾗﾒﾙｹﾙ", "ｱﾝｹﾞﾗﾒﾙｹﾙｼ", "ﾄｳｷｮｳﾄ"],
        [
            "\U00020bb7\U00020bb8\U00020bb9",
            "\U00020bb7\U00020bb8",
            "\U00020c00\U00020c01",
        ],
    ],
    ids=["Han", "Thai", "Burmese", "Khmer", "half-width kana", "rare Han"],
)
def test_spread_compares_text_without_blanks_by_characters(texts: list[str]) -> None:
    assert choose_spread(texts, [0.9, 0.8, 0.7], n=2) == [0, 2]


def test_spread_covers_topics() -> None:
    rng = random.Random(0)
    topics = [[f"{topic}{n}" for n in range(30)] for topic in "abcd"]
    # the first topic has nine tenths of the texts
    texts = [" ".join(rng.choices(topics[0], k=8)) for _ in range(270)]
    texts += [" ".join(rng.choices(t, k=8)) for t in topics[1:] for _ in range(10)]
    selection = choose_spread(texts, [0.5] * len(texts), n=20)
    assert all(sum(texts[i][0] == topic for i in selection) >= 2 for topic in "abcd")


# Usefulness


def test_usefulness_of_a_text_that_the_model_knows_is_low() -> None:
    nlp = trained()
    known = correction_probability(nlp(TEXT))
    pipe_of(nlp).set_tuning(Tuning({"PER": 1.0}))
    assert 0 <= known < 0.5 < correction_probability(nlp(TEXT)) <= 1


def test_usefulness_of_an_empty_doc_is_none() -> None:
    assert correction_probability(trained()("")) == 0


# Texts


def read(path: Path) -> list[SourceText | BadLine]:
    nlp = spacy.blank("en")
    nlp.max_length = 20_000
    return list(read_texts(path, nlp=nlp, text_column="text"))


def test_suggest_reads_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\n two\u2028more \n", "utf8")
    assert read(path) == [
        SourceText("one", {"source": "a.txt:1"}),
        SourceText(" two\u2028more ", {"source": "a.txt:3"}),
    ]


@pytest.mark.parametrize(
    ("name", "saying"),
    [
        (
            "a.csv",
            "a.csv holds a table, columns or annotation, not texts. Write JSON lines",
        ),
        ("a.TSV.gz", "holds a table, columns or annotation"),
        ("a.parquet", "holds a table, columns or annotation"),
        ("a.conll", "holds a table, columns or annotation"),
        ("folder", "folder is a folder. Give a .jsonl"),
        ("a.txt", "a.txt is text in UTF-16, which is not read. Save it as UTF-8"),
    ],
)
def test_suggest_of_what_holds_no_texts_is_an_error(
    name: str, saying: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_text("text;id\none;1", "utf-16")
    with pytest.raises(ConversionError, match=saying):
        read(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
def test_suggest_reads_json(name: str, tmp_path: Path) -> None:
    rows = [{"text": "one", "id": 5, "spans": [], "author": "x"}, {"text": "two"}]
    content = json.dumps(rows)
    if "jsonl" in name:
        content = "".join(f"{json.dumps(row)}\n" for row in rows)
    path = tmp_path / name
    path.write_bytes(
        gzip.compress(content.encode()) if name.endswith("gz") else content.encode()
    )
    first, second = read(path)
    assert isinstance(first, SourceText)
    assert first.meta == {"id": 5, "author": "x", "source": f"{name}:1"}
    assert isinstance(second, SourceText)
    assert second.text == "two"


def test_suggest_reads_a_list_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["one", {"text": "two"}, 5]', "utf8")
    first, second, bad = read(path)
    assert first == SourceText("one", {"source": "a.json:1"})
    assert second == SourceText("two", {"source": "a.json:2"})
    assert isinstance(bad, BadLine)


def test_suggest_leaves_out_values_that_no_json_file_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"text": "one", "a": "\\ud800", "b\\udfff": 1, "c": 1e999, "d": NaN, "e": 2}\n'
        f'{{"text": "two", "huge": {10**400}}}\n',
        "utf8",
    )
    first, second = read(path)
    assert first == SourceText("one", {"e": 2, "source": "a.jsonl:1"})
    assert isinstance(second, SourceText)
    assert second.meta["huge"] == 10**400


def test_suggest_reads_docs(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    DocBin(docs=[nlp("one"), nlp("two")]).to_disk(tmp_path / "a.spacy")
    found = read(tmp_path / "a.spacy")
    assert [t.text for t in found if isinstance(t, SourceText)] == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not one JSON value"),
        ('{"content": "x"}', 'no string behind "text"'),
        ('{"text": 5}', 'no string behind "text"'),
        ('{"text": "a\\ud800"}', "half a character"),
        (f'{{"text": "{"a " * 10_001}"}}', "20002 characters, but spaCy takes at"),
        (f'{{"text": "{"(" * 10_001}"}}', "10001 characters without a blank"),
    ],
)
def test_suggest_names_a_line_without_a_text(
    line: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "one"}}\n{line}\n{{"text": "two"}}\n', "utf8")
    first, bad, second = read(path)
    assert isinstance(bad, BadLine)
    assert f"{path}:2" in str(bad)
    assert reason in bad.reason
    assert isinstance(first, SourceText)
    assert isinstance(second, SourceText)


def test_suggest_of_a_missing_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="not found"):
        read(tmp_path / "no.txt")
    (tmp_path / "a.spacy").write_bytes(b"x")
    with pytest.raises(ConversionError, match=r"a\.spacy.*or spacy\.tokens\.DocBin"):
        read(tmp_path / "a.spacy")


# Formats


def written(tmp_path: Path, tool: Tool, name: str = "out.jsonl") -> Any:
    path = tmp_path / name
    write_suggestions([SUGGESTION, SUGGESTION], path, tool=tool, model="m")
    content = path.read_text("utf8")
    if name.endswith(".json"):
        return json.loads(content)
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("plain", ["out.JSON", "out.json", "out.jsonl"])
@pytest.mark.parametrize("packed", ["", ".gz", ".BZ2", ".xz"])
def test_suggest_writes_what_the_name_says(
    plain: str, packed: str, tmp_path: Path
) -> None:
    path = tmp_path / f"{plain}{packed}"
    write_suggestions([SUGGESTION], path, tool=Tool.prodigy, model="m")
    content = read_text(path)
    assert content.startswith("{" if plain == "out.jsonl" else "[{")
    assert read(path) == [
        SourceText("Bob in Oslo .", {"source": f"{path.name}:1"}),
    ]
    assert (packed == "") == path.read_bytes().startswith(content[:2].encode())


def test_suggest_writes_prodigy(tmp_path: Path) -> None:
    assert written(tmp_path, Tool.prodigy)[0] == {
        "text": "Bob in Oslo .",
        "spans": [
            {"start": 0, "end": 3, "label": "PER", "score": 0.8123},
            {"start": 7, "end": 11, "label": "LOC", "score": 0.5},
        ],
        "meta": {"id": 7, "label": "news", "model": "m", "score": 0.75},
    }


def test_suggest_writes_label_studio(tmp_path: Path) -> None:
    tasks = written(tmp_path, Tool.label_studio, "out.json")
    [prediction] = tasks[0]["predictions"]
    assert prediction["model_version"] == "m"
    assert prediction["result"][0] == {
        "id": "m1",
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "score": 0.8123,
        "value": {"start": 0, "end": 3, "text": "Bob", "labels": ["PER"]},
    }
    assert tasks[0]["data"]["text"] == "Bob in Oslo ."


def test_suggest_writes_doccano(tmp_path: Path) -> None:
    assert written(tmp_path, Tool.doccano)[0] == {
        "text": "Bob in Oslo .",
        "label": [[0, 3, "PER"], [7, 11, "LOC"]],
        "model": "m",
        "score": 0.75,
    }


def exported(rows: list[dict[str, Any]], tool: Tool) -> list[dict[str, Any]]:
    """The rows as the tool exports them when all mentions were accepted."""
    if tool is Tool.prodigy:
        return [{**row, "answer": "accept", "_view_id": "ner_manual"} for row in rows]
    if tool is Tool.doccano:
        return [{**row, "id": i, "Comments": []} for i, row in enumerate(rows)]
    return [
        {
            **row,
            "id": number,
            "annotations": [
                {"result": row["predictions"][0]["result"], "was_cancelled": False}
            ],
        }
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("tool", Tool)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_suggest_is_read_back_by_convert(
    tool: Tool, suffix: str, tmp_path: Path
) -> None:
    rows = exported(written(tmp_path, tool, f"out{suffix}"), tool)
    source, target = tmp_path / "export.json", tmp_path / "gold.spacy"
    source.write_text(json.dumps(rows), "utf8")
    report = convert(source, target, **AS_IT_IS)
    assert not report.bad
    nlp = spacy.blank("en")
    docs = list(DocBin().from_disk(target).get_docs(nlp.vocab))
    assert len(docs) == 2
    found = [(e.start_char, e.end_char, e.label_) for e in docs[0].ents]
    assert found == [(0, 3, "PER"), (7, 11, "LOC")]


NESTED = Suggestion(
    "Bank of China won", [(0, 13, "ORG", 0.9)], 0.5, {}, [(8, 13, "LOC", 0.8)]
)


def converted_back(suggestion: Suggestion, tool: Tool, folder: Path) -> Any:
    """The report of `convert` on what the tool makes of a suggestion."""
    path = folder / "out.json"
    write_suggestions([suggestion], path, tool=tool, model="m")
    rows = exported(json.loads(path.read_text("utf8")), tool)
    path.write_text(json.dumps(rows), "utf8")
    return convert(path, folder / "gold.spacy", **AS_IT_IS)


@pytest.mark.parametrize("tool", Tool)
def test_suggest_writes_nested_mentions_but_for_prodigy(
    tool: Tool, tmp_path: Path
) -> None:
    report = converted_back(NESTED, tool, tmp_path)
    assert not report.bad
    assert report.labels["ORG"] == 1
    assert report.labels["LOC"] == (0 if tool is Tool.prodigy else 1)


def test_suggest_takes_nested_mentions_and_their_scores() -> None:
    nlp = trained()
    pipe = pipe_of(nlp)

    @spacy.Language.component("nests_a_place")
    def nests_a_place(doc: spacy.tokens.Doc) -> spacy.tokens.Doc:
        span = doc[1:2]
        place = [span.start_char, span.end_char, "LOC"]
        attrs = {"places": [place], "scores": [0.25], "expected": {}}
        group = SpanGroup(doc, attrs=attrs, spans=[Span(doc, 1, 2, "LOC")])
        doc.spans[pipe.cfg["spans_key"]] = group
        doc.set_ents([Span(doc, 0, 2, "PER")])
        return doc

    nlp.add_pipe("nests_a_place")
    (chosen,) = suggest(nlp, [SourceText("Anna Smith met Bob")], n=1).chosen
    assert chosen.nested == [(5, 10, "LOC", 0.25)]
    assert [mention[:3] for mention in chosen.mentions] == [(0, 10, "PER")]
    assert chosen.all_mentions() == [*chosen.mentions, *chosen.nested]
    assert chosen.score == pytest.approx(0.75)


@pytest.mark.parametrize("tool", Tool)
def test_suggest_is_read_back_whatever_its_lines_held(
    tool: Tool, tmp_path: Path
) -> None:
    keys = [*KEYS, *MIN_KEYS, *USER_KEYS, *TEXT_KEYS[1:], "answer", "_view_id"]
    keys += [
        "tokens",
        "_input_hash",
        "points",
        "ner_tags",
        "task",
        "rows",
        "examples",
        "lang",
    ]
    for value in (42, "ner", "O O B-PER O"):
        meta = dict.fromkeys(keys, value)
        suggestion = Suggestion("Bob in Oslo .", MENTIONS, 0.75, meta)
        report = converted_back(suggestion, tool, tmp_path)
        assert not report.bad
        assert report.labels == {"PER": 1, "LOC": 1}


def test_suggest_of_label_studio_is_no_gold_before_it_was_annotated(
    tmp_path: Path,
) -> None:
    written(tmp_path, Tool.label_studio, "out.json")
    with pytest.raises(ConversionError, match="predictions are none"):
        convert(tmp_path / "out.json", tmp_path / "gold.spacy", **AS_IT_IS)


# The choice and the command


def test_suggest_chooses_the_texts_that_the_model_is_not_sure_of() -> None:
    nlp = trained()
    new = ["Xylo flurbed Quonk near Zarbimont with Ploomy .", "Unseen Words Here ."]
    texts = [SourceText(text) for text in (*GOLD, *new)]
    found = suggest(nlp, texts, n=2)
    assert found.read == len(texts)
    assert {s.text for s in found.chosen} & set(new)
    assert found.chosen[0].score > found.mean


def test_suggest_of_a_text_that_is_repeated_chooses_others_too() -> None:
    nlp = trained()
    scores = {text: correction_probability(nlp(text)) for text in GOLD}
    often, *others = sorted(GOLD, key=scores.__getitem__, reverse=True)
    texts = [others[0], *[often] * (2 * POOL + 1), others[1]]
    found = suggest(nlp, [SourceText(text) for text in texts], n=2)
    assert found.read == len(texts)
    assert len({s.text for s in found.chosen}) == 2


def test_suggest_leaves_out_a_text_that_fails() -> None:
    nlp = trained()

    @spacy.Language.component("fails_at_bob")
    def fails_at_bob(doc: spacy.tokens.Doc) -> spacy.tokens.Doc:
        if "Bob" in doc.text:
            raise ValueError("no Bob")
        return doc

    nlp.add_pipe("fails_at_bob")
    found = suggest(nlp, [SourceText("Bob"), SourceText("Oslo")], n=2)
    assert [s.text for s in found.chosen] == ["Oslo"]
    assert [str(error) for error in found.failed] == ["no Bob"]


def test_suggest_leaves_the_error_handlers_of_a_pipeline_as_they_were() -> None:
    nlp = trained()

    @spacy.Language.component("fails_always")
    def fails_always(doc: spacy.tokens.Doc) -> spacy.tokens.Doc:
        raise ValueError("no text")

    nlp.add_pipe("fails_always")
    handler = pipe_of(nlp).get_error_handler()
    assert len(suggest(nlp, [SourceText("Oslo")], n=1).failed) == 1
    assert pipe_of(nlp).get_error_handler() is handler
    with pytest.raises(ValueError, match="no text"):
        list(nlp.pipe(["Oslo"]))


def invoke(tmp_path: Path, content: str, *options: str) -> tuple[int, str]:
    trained().to_disk(tmp_path / "nlp")
    (tmp_path / "texts.jsonl").write_text(content, "utf8")
    command = ["suggest", str(tmp_path / "nlp"), str(tmp_path / "texts.jsonl")]
    command += ["-o", str(tmp_path / "out" / "next.jsonl"), *options]
    result = CliRunner().invoke(padellm_cli, command)
    return result.exit_code, " ".join(result.output.split())


def test_suggest_command(tmp_path: Path) -> None:
    content = "".join(f"{json.dumps({'text': text})}\n" for text in GOLD) + "{\n"
    code, output = invoke(tmp_path, content, "--n", "2", "--format", "doccano")
    assert code == 0, output
    assert "2 texts for doccano" in output
    assert "1 text(s) could not be read" in output
    lines = (tmp_path / "out" / "next.jsonl").read_text("utf8").splitlines()
    assert [json.loads(line)["text"] in GOLD for line in lines] == [True, True]


@pytest.mark.parametrize("name", ["next.spacy", "next.SPACY", "next.spacy.gz"])
def test_suggest_command_refuses_other_formats(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    code, output = invoke(tmp_path, '{"text": "Oslo"}', "-o", str(path))
    assert code == 1
    assert ".jsonl" in output
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "\n \n", '{"body": "x"}\n'])
def test_suggest_command_without_texts_is_an_error(
    content: str, tmp_path: Path
) -> None:
    code, output = invoke(tmp_path, content)
    assert code == 1
    assert "No text of" in output
    assert "--text-column" in output


def test_suggest_command_without_any_score_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "correction_probability", lambda doc: math.nan)
    code, output = invoke(tmp_path, '{"text": "Oslo"}\n')
    assert code == 1
    assert "no probabilities (0..1)" in output


def test_suggest_names_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [json.dumps({"text": text}) for text in ("one", "b" * 30_000, "two")]
    path.write_text("\n\n".join(rows), "utf8")
    first, bad, second = read(path)
    assert isinstance(bad, BadLine)
    assert bad.line == 3
    assert [first, second] == [
        SourceText("one", {"source": "a.jsonl:1"}),
        SourceText("two", {"source": "a.jsonl:5"}),
    ]


def test_suggest_keeps_a_source_of_the_texts_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "source": "my shelf"}', "utf8")
    assert read(path) == [
        SourceText("one", {"source": "my shelf", "padellm_source": "a.jsonl:1"})
    ]


@pytest.mark.parametrize("tool", [Tool.prodigy, Tool.doccano])
def test_suggest_keeps_a_model_and_a_score_of_the_texts_own(
    tmp_path: Path, tool: Tool
) -> None:
    own = {"model": "T", "score": 5, "padellm_score": 6}
    suggestion = Suggestion("one", [], 0.25, own)
    path = tmp_path / "out.jsonl"
    write_suggestions([suggestion], path, tool=tool, model="m")
    row = json.loads(path.read_text("utf8"))
    found = row["meta"] if tool is Tool.prodigy else row
    added = {"padellm_model": "m", "padellm_padellm_score": 0.25}
    assert {key: found[key] for key in {**own, **added}} == {**own, **added}
