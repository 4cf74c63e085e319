"""`spacy padellm annotate`: inputs and their outputs."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("pyarrow")

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import spacy
from annotate_helpers import (
    TEXTS,
    annotate,
    compressed,
    contents,
    fails,
    rejected,
    rows,
    shards,
    some_texts,
    write_jsonl,
    write_parquet,
)
from helpers import NAME, REFUSING, TOO_LONG, entities, trained, trained_folder
from spacy.language import Language
from spacy.pipeline import EntityRuler
from spacy.tokens import Doc, DocBin, Span, SpanGroup

from spacy_padellm.annotate import writers
from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.annotate.records import InputRecord
from spacy_padellm.progress import progress
from spacy_padellm.text.tokenizing import LONGEST_WORD


@pytest.fixture(scope="module")
def expected() -> dict[str, list[tuple[str, str]]]:
    """Text -> entities that the pipeline finds."""
    nlp = spacy.load(trained_folder())
    return {text: entities(nlp(text)) for text in TEXTS}


def found(output: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (row["text"], [(ent["text"], ent["label"]) for ent in row["entities"]])
        for row in rows(output)
    ]


def test_annotate_finds_the_entities_of_the_pipeline(
    pipeline: Path, expected: dict[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    texts = some_texts(25)
    source = write_jsonl(tmp_path / "in.jsonl", texts)
    output = tmp_path / "out"
    code, words = annotate(pipeline, source, "--output", output, "--shard-size", 10)
    assert code == 0, words
    assert "25 rows read, 3 shards" in words
    assert found(output) == [(text, expected[text]) for text in texts]
    assert any(entities for _, entities in found(output))


def test_annotate_takes_a_bundled_model(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ["Angela Merkel met them in Berlin ."])
    code, words = annotate("bundled-en-sm", source, "-o", tmp_path / "out")
    assert code == 0, words
    assert [entities for _, entities in found(tmp_path / "out")] == [
        [("Angela Merkel", "PER"), ("Berlin", "LOC")]
    ]


def test_annotate_entity_has_offsets_and_score(pipeline: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    annotate(pipeline, source, "-o", tmp_path / "out")
    for row in rows(tmp_path / "out"):
        doc = spacy.load(pipeline)(row["text"])
        scores = [ent._.padellm_score for ent in doc.ents]
        for entity in row["entities"]:
            place = row["text"][entity["start"] : entity["end"]]
            assert place == entity["text"]
        assert [e["score"] for e in row["entities"]] == pytest.approx(scores, abs=1e-5)


def test_annotate_entity_of_another_pipe_has_no_score(tmp_path: Path) -> None:
    nlp = trained(existing="keep")
    ruler = nlp.add_pipe("entity_ruler", before=NAME)
    ruler.add_patterns([{"label": "VERB", "pattern": "met"}])  # type: ignore[attr-defined]
    nlp.to_disk(tmp_path / "nlp")
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS[:1])
    annotate(tmp_path / "nlp", source, "-o", tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    scores = {e["text"]: e["score"] for e in row["entities"]}
    assert scores["met"] is None
    assert 0 < scores["Bob"] <= 1


def test_annotate_writes_nested_mentions_to_a_column_of_their_own() -> None:
    doc = spacy.blank("en")("Anna Smith met Bob")
    place = Span(doc, 1, 2, "LOC")
    person = Span(doc, 0, 2, "PER")
    doc.set_ents([person])
    spans = SpanGroup(doc, attrs={"expected": {}}, spans=[person, place])
    doc.spans["padellm"] = spans
    columns = writers.to_entities(doc)
    assert [row["text"] for row in columns["entities"]] == ["Anna Smith"]
    (nested,) = columns["nested"]
    assert (nested["start"], nested["end"], nested["label"]) == (5, 10, "LOC")
    file = io.BytesIO()
    record = InputRecord(0, doc.text)
    writers.write_parquet(file, [[(record, columns)]], pa.schema([]))
    assert pq.read_table(file)["nested"].to_pylist() == [[nested]]


def test_annotate_keeps_columns_of_parquet_with_their_types(
    pipeline: Path, tmp_path: Path
) -> None:
    columns = {
        "when": pa.array([1, None, 3, 4, 5], pa.timestamp("ns")),
        "price": pa.array([Decimal("1.10")] * 5, pa.decimal128(5, 2)),
        "tags": pa.array([["a"], [], None, ["b", "c"], ["d"]]),
        "site": pa.array(["x", "y", "x", "x", None]).dictionary_encode(),
    }
    source = write_parquet(tmp_path / "in.parquet", TEXTS, **columns)
    keep = ("--keep-columns", "id,when,price,tags,site")
    code, words = annotate(
        pipeline, source, "-o", tmp_path / "out", "--shard-size", 2, *keep
    )
    assert code == 0, words
    table = pq.read_table(tmp_path / "out" / "shards")
    columns["site"] = columns["site"].cast(pa.string())
    assert table.column_names == ["id", *columns, "text", "entities", "nested"]
    for name, column in columns.items():
        assert table[name].combine_chunks().equals(column), name


def test_annotate_columns_of_files_that_differ_are_widened(
    pipeline: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Bob", "n": 1, "s": null}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "Bob", "n": 2.5, "s": "x"}\n')
    options = ("--keep-columns", "n,s")
    code, words = annotate(
        pipeline, tmp_path / "*.jsonl", "-o", tmp_path / "out", *options
    )
    assert code == 0, words
    kept = [(row["n"], row["s"]) for row in rows(tmp_path / "out")]
    assert kept == [(1.0, None), (2.5, "x")]


def test_annotate_text_column(pipeline: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", [1] * 5, body=TEXTS)
    annotate(pipeline, source, "-o", tmp_path / "out", "--text-column", "body")
    assert [text for text, _ in found(tmp_path / "out")] == TEXTS


def write_as(suffix: str, folder: Path, texts: list[str]) -> Path:
    """Write texts to a file in the format of a suffix."""
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        return write_parquet(path, texts)
    if suffix == ".spacy":
        nlp = spacy.blank("en")
        DocBin(docs=map(nlp.make_doc, texts)).to_disk(path)
        return path
    if ".jsonl" in suffix:
        data = write_jsonl(folder / "plain", texts).read_bytes()
    else:
        data = "\n".join(texts).encode()
    if suffix.endswith(".gz"):
        # two members, as in a file that was appended to
        half = len(data) // 2
        data = compressed(data[:half], suffix) + compressed(data[half:], suffix)
    else:
        data = compressed(data, suffix)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "suffix",
    [
        ".parquet",
        ".jsonl",
        ".jsonl.bz2",
        ".jsonl.gz",
        ".jsonl.zst",
        ".txt",
        ".txt.gz",
        ".txt.xz",
        ".txt.zst",
        ".spacy",
    ],
)
def test_annotate_reads_every_format(
    pipeline: Path,
    expected: dict[str, list[tuple[str, str]]],
    tmp_path: Path,
    suffix: str,
) -> None:
    texts = some_texts(11)
    source = write_as(suffix, tmp_path, texts)
    code, words = annotate(pipeline, source, "-o", tmp_path / "out", "--shard-size", 4)
    assert code == 0, words
    assert found(tmp_path / "out") == [(text, expected[text]) for text in texts]
    assert len(shards(tmp_path / "out")) == 3


def test_annotate_every_text_line_is_a_text(pipeline: Path, tmp_path: Path) -> None:
    lines = ["", "a\u2028b", " ", "x\x0cy", "end"]
    data = b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\n"
    (tmp_path / "in.txt").write_bytes(data)
    annotate(pipeline, tmp_path / "in.txt", "-o", tmp_path / "out", "--shard-size", 2)
    assert [row["text"] for row in rows(tmp_path / "out")] == lines


def test_annotate_docs_keep_their_tokens(pipeline: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["Bob", "met", "Anna", "Smi", "th"], spaces=None)
    DocBin(docs=[doc]).to_disk(tmp_path / "in.spacy")
    source, output = tmp_path / "in.spacy", tmp_path / "out"
    annotate(pipeline, source, "-o", output, "--format", "spacy")
    (read,) = DocBin().from_disk(shards(output)[0]).get_docs(nlp.vocab)
    assert [token.text for token in read] == [token.text for token in doc]
    assert read.has_annotation("ENT_IOB")


def test_annotate_writes_docs(
    pipeline: Path, expected: dict[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    output = tmp_path / "out"
    options = ("--format", "spacy", "--keep-columns", "id", "--shard-size", 3)
    code, words = annotate(pipeline, source, "-o", output, *options)
    assert code == 0, words
    vocab = spacy.blank("en").vocab
    docs = [
        doc
        for path in shards(output)
        for doc in DocBin(store_user_data=True).from_disk(path).get_docs(vocab)
    ]
    assert [(d.text, entities(d)) for d in docs] == [(t, expected[t]) for t in TEXTS]
    assert [doc.user_data["columns"]["id"] for doc in docs] == list(range(len(TEXTS)))
    assert all("scores" in doc.spans["padellm"].attrs for doc in docs)


def test_annotate_folder_is_searched_in_order(pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "_hidden").mkdir()
    for place, name in enumerate(("a", "b/c/x", "d")):
        write_jsonl(folder / f"{name}.jsonl", [TEXTS[place]])
    write_jsonl(folder / "_hidden" / "x.jsonl", ["hidden"])
    (folder / "_SUCCESS").touch()
    annotate(pipeline, folder, "-o", tmp_path / "out")
    assert [row["text"] for row in rows(tmp_path / "out")] == TEXTS[:3]


def test_annotate_glob_and_repeated_file_are_read_once(
    pipeline: Path, tmp_path: Path
) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", TEXTS[:1])
    write_jsonl(tmp_path / "b.jsonl", TEXTS[1:2])
    annotate(pipeline, tmp_path / "*.jsonl", first, "-o", tmp_path / "out")
    assert [row["text"] for row in rows(tmp_path / "out")] == TEXTS[:2]


def test_annotate_output_in_the_input_folder_is_no_input(
    pipeline: Path, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "in.parquet", TEXTS)
    command = (pipeline, tmp_path, "-o", tmp_path / "out")
    assert annotate(*command)[0] == 0
    assert annotate(*command)[0] == 0
    assert len(rows(tmp_path / "out")) == len(TEXTS)


@pytest.mark.parametrize("written_out", [False, True])
def test_annotate_output_of_another_format_is_no_input(
    pipeline: Path, tmp_path: Path, written_out: bool
) -> None:
    """Also where the shell writes a glob out: the output folder may be the first."""
    source = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    output = tmp_path / "out"
    folder = (pipeline, tmp_path, "-o", output)
    assert annotate(*folder)[0] == 0
    again = (pipeline, output, source, "-o", output) if written_out else folder
    assert annotate(*again)[0] == 0
    assert len(rows(output)) == len(TEXTS)


def test_annotate_other_file_systems(pipeline: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", TEXTS)
    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus/in.parquet", source.read_bytes())
    command = (pipeline, "memory://corpus/*.parquet", "-o", "memory://annotated")
    try:
        code, words = annotate(*command, "--shard-size", 2)
        assert code == 0, words
        names = memory.ls("/annotated/shards", detail=False)
        tables = [pq.read_table(memory.open(name)) for name in sorted(names)]
        texts = [text for table in tables for text in table["text"].to_pylist()]
        assert texts == TEXTS
        assert memory.ls("/annotated", detail=False) == [
            "/annotated/done",
            "/annotated/manifest.json",
            "/annotated/shards",
        ]
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]


@pytest.mark.slow
def test_annotate_workers_give_the_same_bytes(pipeline: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*some_texts(40), None])
    options = ("--shard-size", 5, "--keep-columns", "id")
    annotate(pipeline, source, "-o", tmp_path / "one", *options)
    code, words = annotate(
        pipeline, source, "-o", tmp_path / "two", *options, "--workers", 2
    )
    assert code == 3, words
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize(("size", "warned"), [(1000, True), (10, False)])
def test_annotate_shards_too_few_for_the_workers_are_named(
    pipeline: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    size: int,
    warned: bool,
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", some_texts(160))
    options = ("--workers", 2, "--shard-size", size)
    code, words = annotate(pipeline, source, "-o", tmp_path / "out", *options)
    assert code == 0, words
    assert ("use --shard-size 10." in caplog.text) is warned


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_annotate_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], shown: bool
) -> None:
    error = stream()
    monkeypatch.setattr("sys.stderr", error)
    with progress(100, 40) as report:
        report(60)
    assert ("100/100" in error.getvalue()) is shown
    assert ("texts/s" in error.getvalue()) is shown


# Bad records


def test_annotate_bad_lines_are_rejected(pipeline: Path, tmp_path: Path) -> None:
    lines = [
        b'{"id": 0, "text": "Bob met Anna ."}',
        b"{",
        b"",
        b'["Bob"]',
        b'{"id": 4}',
        b'{"id": 5, "text": 7}',
        b'{"id": [6], "text": "Bob"}',
        b'{"id": 7, "text": "B\xffb"}',
        b'{"id": 8, "text": "B\\ud800b"}',
        b'{"text": "Anna"}',
        b'{"id": 10, "text": "Anna"}',
        b'{"id": 11, "text": null}',
    ]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join(lines))
    output = tmp_path / "out"
    options = ("--keep-columns", "id", "--shard-size", 4)
    code, words = annotate(pipeline, source, "-o", output, *options)
    assert code == 3
    assert "7 records rejected" in words
    assert [row["id"] for row in rows(output)] == ["0", "[6]", None, "10"]
    bad = rejected(output)
    assert [record["row"] for record in bad] == [2, 4, 5, 6, 8, 9, 12]
    reasons = [
        "Expecting property name",
        "not a JSON object",
        "there is no key 'text'",
        "'text' is int",
        "can't decode byte",
        "surrogates not allowed). Replace it",
        "'text' is null",
    ]
    for record, reason in zip(bad, reasons, strict=True):
        assert reason in record["reason"]
        assert record["file"] == str(source)
    assert bad[3]["content"] == lines[5].decode()
    assert bad[5]["content"] == {"text": "B\ud800b", "id": "8"}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([0, "one"], ["0", "one"]),
        ([10**22, 1], ["10000000000000000000000", "1"]),
        ([1, 1.5, True], ["1", "1.5", "true"]),
        ([2**60 + 1, 0.5], ["1152921504606846977", "0.5"]),
        ([1, [1]], ["1", "[1]"]),
        ([["a", "ü"], [1, 2], ["c"]], ['["a", "ü"]', "[1, 2]", '["c"]']),
        ([[1, "a"]], ['[1, "a"]']),
        ([[True], [1.0]], ["[true]", "[1.0]"]),
        (
            [{"src": "a", "year": 1999}, {"src": "b", "year": "unknown"}, {}],
            ['{"src": "a", "year": 1999}', '{"src": "b", "year": "unknown"}', "{}"],
        ),
        (
            [1, "b", None, [1, {"a": 2}], {"k": 1}, 2**70],
            ["1", "b", None, '[1, {"a": 2}]', '{"k": 1}', str(2**70)],
        ),
    ],
)
def test_annotate_keeps_a_column_of_several_types_as_strings(
    pipeline: Path, tmp_path: Path, ids: list[object], expected: list[str | None]
) -> None:
    source = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": each, "text": "Bob"}) for each in ids]
    source.write_text("\n".join(lines))
    output = tmp_path / "out"
    code, _ = annotate(pipeline, source, "-o", output, "--keep-columns", "id")
    assert code == 0
    assert [row["id"] for row in rows(output)] == expected


def test_annotate_keeps_a_column_of_other_types_in_another_file_as_strings(
    pipeline: Path, tmp_path: Path
) -> None:
    files = {"a": [1, 2], "b": [3, [6]], "c": [7]}
    sources = [tmp_path / f"{name}.jsonl" for name in files]
    for source, ids in zip(sources, files.values(), strict=True):
        lines = [json.dumps({"id": each, "text": "Bob"}) for each in ids]
        source.write_text("\n".join(lines))
    output = tmp_path / "out"
    code, _ = annotate(pipeline, *sources, "-o", output, "--keep-columns", "id")
    assert code == 0
    assert [row["id"] for row in rows(output)] == ["1", "2", "3", "[6]", "7"]


def test_annotate_tells_the_number_of_rows_and_shards(
    pipeline: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "Bob"}\n{}\n')
    words = annotate(pipeline, source, "-o", tmp_path / "out")[1]
    assert "2 rows read, 1 shard:" in words
    assert "1 record rejected:" in words
    words = annotate(pipeline, source, "-o", tmp_path / "out")[1]
    assert "Done before: 1 of 1 shard" in words
    source.write_text('{"text": "Bob"}\n')
    words = annotate(pipeline, source, "-o", tmp_path / "new", "--shard-size", 1)[1]
    assert "1 row read, 1 shard:" in words


def test_annotate_null_of_parquet_is_rejected(pipeline: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", ["Bob", None, "Anna"])
    output = tmp_path / "out"
    code, _ = annotate(pipeline, source, "-o", output, "--keep-columns", "id")
    assert code == 3
    assert [row["id"] for row in rows(output)] == [0, 2]
    (bad,) = rejected(output)
    assert (bad["row"], bad["content"]) == (2, {"id": 1})


def test_annotate_text_that_fails_is_rejected(
    expected: dict[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    trained(span_getter=REFUSING).to_disk(tmp_path / "nlp")
    texts = [*TEXTS[:2], TOO_LONG, *TEXTS[2:]]
    source = write_parquet(tmp_path / "in.parquet", texts)
    output = tmp_path / "out"
    code, words = annotate(tmp_path / "nlp", source, "-o", output)
    assert code == 3, words
    assert found(output) == [(text, expected[text]) for text in TEXTS]
    (bad,) = rejected(output)
    assert bad["content"] == {"text": TOO_LONG}
    assert "The test refuses this Doc" in bad["reason"]


def test_annotate_text_with_an_endless_word_is_rejected(
    pipeline: Path, tmp_path: Path
) -> None:
    endless = "Bob " + "(" * (LONGEST_WORD + 1)
    source = write_jsonl(tmp_path / "in.jsonl", [TEXTS[0], endless, TEXTS[1]])
    output = tmp_path / "out"
    code, words = annotate(pipeline, source, "-o", output)
    assert code == 3, words
    assert [row["text"] for row in rows(output)] == TEXTS[:2]
    (bad,) = rejected(output)
    reason = f"the text has {LONGEST_WORD + 1} characters without a blank"
    assert bad["row"] == 2
    assert bad["reason"].startswith(reason)


def test_annotate_docs_with_an_endless_word_are_annotated(
    pipeline: Path, tmp_path: Path
) -> None:
    words = ["Bob", "(" * (LONGEST_WORD + 1)]
    DocBin(docs=[Doc(spacy.blank("en").vocab, words)]).to_disk(tmp_path / "in.spacy")
    output = tmp_path / "out"
    code, printed = annotate(pipeline, tmp_path / "in.spacy", "-o", output)
    assert code == 0, printed


class Careless:
    """A component that drops all Docs of a batch if one of them fails."""

    def __call__(self, doc: Doc) -> Doc:
        return next(self.pipe([doc]))  # type: ignore[call-overload]

    def pipe(self, stream, *, batch_size=128):  # type: ignore[no-untyped-def]
        for docs in spacy.util.minibatch(stream, batch_size):
            try:
                if any("Acme" in doc.text for doc in docs):
                    raise RuntimeError("Acme again")
                yield from docs
            except RuntimeError as error:
                self.error_handler("careless", self, docs, error)

    def set_error_handler(self, error_handler):  # type: ignore[no-untyped-def]
        self.error_handler = error_handler


@Language.factory("careless")
def make_careless(nlp: Language, name: str) -> Careless:
    return Careless()


def test_annotate_texts_of_a_failed_batch_come_out_in_order(tmp_path: Path) -> None:
    nlp = trained()
    nlp.add_pipe("careless")
    nlp.to_disk(tmp_path / "nlp")
    texts = some_texts(12)
    source = write_parquet(tmp_path / "in.parquet", texts)
    output = tmp_path / "out"
    code, words = annotate(tmp_path / "nlp", source, "-o", output)
    assert code == 3, words
    assert [row["text"] for row in rows(output)] == [
        t for t in texts if "Acme" not in t
    ]
    bad = [place for place, text in enumerate(texts, 1) if "Acme" in text]
    assert [record["row"] for record in rejected(output)] == bad
    assert {r["reason"] for r in rejected(output)} == {
        "careless: RuntimeError: Acme again"
    }


def test_annotate_nested_values_are_kept_as_they_are_or_rejected(
    pipeline: Path, tmp_path: Path
) -> None:
    metas = [[1], *[[2]] * 1000, [1.5], [3]]
    facts = [{"a": 1}] * 1001 + [{}, {"a": 1, "b": 2}]
    lines = [
        {"text": "Bob", "meta": meta, "fact": fact}
        for meta, fact in zip(metas, facts, strict=True)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "out"
    code, _ = annotate(pipeline, source, "-o", output, "--keep-columns", "meta,fact")
    assert code == 3
    assert [row["meta"] for row in rows(output)] == metas[:-2]
    first, second = rejected(output)
    assert first["content"] == json.dumps(lines[-2])
    assert "'meta' is no list" in first["reason"]
    assert "leave it out of --keep-columns" in first["reason"]
    assert "'fact' is no struct" in second["reason"]


def test_annotate_later_value_of_another_type_is_rejected(
    pipeline: Path, tmp_path: Path
) -> None:
    values = [*[{"a": 1}] * 1000, {"a": "x"}, [1]]
    lines = [json.dumps({"text": "Bob", "id": value}) for value in values]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(lines))
    output = tmp_path / "out"
    assert annotate(pipeline, source, "-o", output, "--keep-columns", "id")[0] == 3
    assert [row["row"] for row in rejected(output)] == [1001, 1002]
    for row in rejected(output):
        assert row["reason"].startswith("'id' is no struct<a: int64>: ")
        assert "leave it out of --keep-columns" in row["reason"]


def test_annotate_nested_columns_without_values_are_kept(
    pipeline: Path, tmp_path: Path
) -> None:
    kept = {"a": None, "b": [{"c": None}]}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"text": "Bob", "kept": kept}))
    options = ["--keep-columns", "kept"]
    assert annotate(pipeline, source, "-o", tmp_path / "out", *options)[0] == 0
    assert [row["kept"] for row in rows(tmp_path / "out")] == [kept]
    again = shards(tmp_path / "out")[0]
    assert annotate(pipeline, again, "-o", tmp_path / "out-2", *options)[0] == 0
    assert [row["kept"] for row in rows(tmp_path / "out-2")] == [kept]


def strings_of(data: bytes) -> pa.Array:
    """A column of strings with one byte each, which may be no text."""
    ends = pa.array(range(len(data) + 1), pa.int32()).buffers()[1]
    return pa.Array.from_buffers(
        pa.string(), len(data), [None, ends, pa.py_buffer(data)]
    )


def test_annotate_value_that_docs_cannot_hold_is_rejected(
    pipeline: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out"
    long = pa.array([0, 2**62], pa.duration("s"))  # longer than Python's are
    columns = {"text": ["Bob", "Anna"], "long": long, "x": strings_of(b"a\xff")}
    pq.write_table(pa.table(columns), source)
    options = ["--keep-columns", "long,x", "--format", "spacy"]
    assert annotate(pipeline, source, "-o", output, *options)[0] == 3
    (row,) = rejected(output)
    assert row["row"] == 2
    assert row["content"]["text"] == "Anna"
    assert row["content"]["long"] == str(2**62)
    assert row["reason"].startswith("'x' cannot be kept: 'utf-8' codec can't decode")


def test_annotate_row_without_text_may_have_a_value_that_cannot_be_read(
    pipeline: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out"
    pq.write_table(pa.table({"text": ["Bob", None], "x": strings_of(b"a\xff")}), source)
    code, _ = annotate(pipeline, source, "-o", output, "--keep-columns", "x")
    assert code == 3
    assert [row["reason"] for row in rejected(output)] == ["no text: null"]


def test_annotate_file_under_two_names_is_read_once(
    pipeline: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = write_parquet(folder / "a.parquet", TEXTS)
    (tmp_path / "link").symlink_to(folder)
    again = folder / ".." / "in" / "a.parquet"
    output = folder / "out"
    # in the second run, the files in the output folder must not be inputs
    for name in (output, tmp_path / "link" / "out"):
        code, words = annotate(
            pipeline, folder, source, again, tmp_path / "link", "-o", name
        )
        assert code == 0, words
    assert [row["text"] for row in rows(output)] == TEXTS


def test_annotate_file_name_that_is_no_unicode(pipeline: Path, tmp_path: Path) -> None:
    source = tmp_path / "caf\udce9.txt"
    source.write_text("Bob\n")
    for _ in range(2):
        assert annotate(pipeline, tmp_path / "*.txt", "-o", tmp_path / "out")[0] == 0
    assert [row["text"] for row in rows(tmp_path / "out")] == ["Bob"]


def test_annotate_empty_file_is_skipped(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n \n")
    write_jsonl(tmp_path / "b.jsonl", ["Bob"])
    assert annotate(pipeline, tmp_path / "*.jsonl", "-o", tmp_path / "out")[0] == 0
    assert [row["text"] for row in rows(tmp_path / "out")] == ["Bob"]


def test_annotate_line_that_is_not_unicode_is_rejected_at_any_position(
    pipeline: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    lines = [{"text": "Bob", "id": "\ud800"}, {"text": "Anna", "id": "b"}]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "out"
    assert annotate(pipeline, source, "-o", output, "--keep-columns", "id")[0] == 3
    assert [row["id"] for row in rows(output)] == ["b"]
    assert "surrogates" in rejected(output)[0]["reason"]


def test_annotate_parquet_string_views_are_texts(
    pipeline: Path, tmp_path: Path
) -> None:
    texts = pa.array(TEXTS, pa.string_view())
    source = write_parquet(tmp_path / "in.parquet", texts)
    assert annotate(pipeline, source, "-o", tmp_path / "out")[0] == 0
    assert [row["text"] for row in rows(tmp_path / "out")] == TEXTS


def test_annotate_parquet_number_that_fits_no_common_type_is_rejected(
    pipeline: Path, tmp_path: Path
) -> None:
    ids = [1, 2**53 + 1, 3]
    pq.write_table(pa.table({"text": TEXTS[:3], "n": ids}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["Bob"], "n": [0.5]}), tmp_path / "b.parquet")
    output = tmp_path / "out"
    code, words = annotate(
        pipeline, tmp_path / "*.parquet", "-o", output, "--keep-columns", "n"
    )
    assert code == 3, words
    assert [row["n"] for row in rows(output)] == [1, 3, 0.5]
    assert rejected(output)[0]["content"] == {"n": ids[1]}


class Remote:
    """A component with a server that fails for some requests."""

    away: ClassVar[set[int]] = set()  # requests
    error: ClassVar[Exception] = ConnectionError("no answer")
    calls = 0

    def __call__(self, doc: Doc) -> Doc:
        Remote.calls += 1
        if Remote.calls in Remote.away:
            raise Remote.error
        return doc


@Language.factory("remote")
def make_remote(nlp: Language, name: str) -> Remote:
    return Remote()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Remote, "calls", -1)  # but for the sentence at its start
    nlp = trained()
    nlp.add_pipe("remote")
    nlp.to_disk(tmp_path / "nlp")
    return tmp_path / "nlp"


def test_annotate_server_that_goes_away_loses_no_text(
    remote: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    output = tmp_path / "out"
    monkeypatch.setattr(Remote, "away", set(range(6, 100)))
    saying = "A server that the pipeline needs cannot be reached: remote: Conn"
    fails(remote, source, "-o", output, saying=saying)
    assert not shards(output)
    monkeypatch.setattr(Remote, "away", set())
    assert annotate(remote, source, "-o", output)[0] == 0
    assert [row["text"] for row in rows(output)] == some_texts(12)


def test_annotate_server_that_no_longer_takes_the_key_loses_no_text(
    remote: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    output = tmp_path / "out"
    monkeypatch.setattr(Remote, "away", set(range(6, 100)))
    monkeypatch.setattr(Remote, "error", ValueError("401"))
    saying = "it could annotate before: remote: ValueError: 401. Remove the cause"
    fails(remote, source, "-o", output, "--shard-size", "4", saying=saying)
    assert Remote.calls + 1 == 1 + 4 + 4 + 1
    monkeypatch.setattr(Remote, "away", set())
    assert annotate(remote, source, "-o", output, "--shard-size", "4")[0] == 0
    assert [row["text"] for row in rows(output)] == some_texts(12)


def test_annotate_server_that_is_dead_is_asked_for_no_further_text(
    remote: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    monkeypatch.setattr(Remote, "away", set(range(6, 100)))
    saying = "run the same command again"
    fails(remote, source, "-o", tmp_path / "out", "--shard-size", "4", saying=saying)
    # the sentence at the start, the first shard, the second one, and the probe
    assert Remote.calls + 1 == 1 + 4 + 4 + 1
    assert len(shards(tmp_path / "out")) == 1


def test_annotate_server_that_comes_back_loses_no_text(
    remote: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    # the sixth text fails, also when it is sent alone; other requests succeed
    monkeypatch.setattr(Remote, "away", {6, 14})
    code, words = annotate(remote, source, "-o", tmp_path / "out")
    assert code == 0, words
    assert [row["text"] for row in rows(tmp_path / "out")] == some_texts(12)


def test_annotate_text_that_fails_in_a_component_of_spacy_is_rejected_alone(
    expected: dict[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    """These components yield None for a Doc that they reported."""
    texts = some_texts(12)
    source = write_parquet(tmp_path / "in.parquet", texts)
    for place in ("first", "last"):
        nlp = trained()
        ruler = nlp.add_pipe("failing_ruler", **{place: True})
        assert isinstance(ruler, FailingRuler)
        nlp.to_disk(tmp_path / place)
        output = tmp_path / f"out-{place}"
        code, words = annotate(tmp_path / place, source, "-o", output)
        assert code == 3, words
        sound = [(text, expected[text]) for text in texts if "Acme" not in text]
        assert found(output) == sound
        bad = [place for place, text in enumerate(texts, 1) if "Acme" in text]
        assert [record["row"] for record in rejected(output)] == bad
        assert {r["reason"] for r in rejected(output)} == {
            "failing_ruler: ValueError: Acme again"
        }


class FailingRuler(EntityRuler):
    """A ruler of spaCy that fails for some texts."""

    def match(self, doc: Doc) -> list[tuple[int, int, int]]:
        if "Acme" in doc.text:
            raise ValueError("Acme again")
        return []


@Language.factory("failing_ruler")
def make_failing_ruler(nlp: Language, name: str) -> FailingRuler:
    return FailingRuler(nlp, name)


def test_annotate_docs_that_are_tried_again_are_as_they_were_read(
    breaking: Path, tmp_path: Path
) -> None:
    nlp = spacy.load(breaking)
    # a second pass over an annotated Doc would find the mark of the first one
    nlp.add_pipe("counting", first=True)
    nlp.to_disk(tmp_path / "counting")
    texts = ["Bob met Anna .", "Acme", "Anna"]
    DocBin(docs=map(nlp.make_doc, texts)).to_disk(tmp_path / "in.spacy")
    output = tmp_path / "out"
    command = (tmp_path / "counting", tmp_path / "in.spacy", "-o", output)
    assert annotate(*command, "--format", "spacy")[0] == 3
    docs = DocBin().from_disk(shards(output)[0]).get_docs(nlp.vocab)
    assert [(doc.text, doc.cats) for doc in docs] == [
        ("Bob met Anna .", {"passes": 1.0}),
        ("Anna", {"passes": 1.0}),
    ]


@Language.component("counting")
def count_passes(doc: Doc) -> Doc:
    doc.cats["passes"] = doc.cats.get("passes", 0.0) + 1.0
    return doc


class Breaking:
    """A component whose stream ends with an error, which it does not report."""

    error: ClassVar[type[Exception]] = LookupError
    away: ClassVar[str] = "Acme"  # texts with this word fail

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def pipe(self, stream, *, batch_size=128):  # type: ignore[no-untyped-def]
        for doc in stream:
            if Breaking.away in doc.text:
                raise Breaking.error("Acme again")
            yield doc


@Language.factory("breaking")
def make_breaking(nlp: Language, name: str) -> Breaking:
    return Breaking()


@pytest.fixture
def breaking(tmp_path: Path) -> Path:
    nlp = trained()
    nlp.add_pipe("breaking")
    nlp.to_disk(tmp_path / "nlp")
    return tmp_path / "nlp"


def test_annotate_error_that_ends_the_stream_is_the_reason_of_its_text(
    breaking: Path, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    assert annotate(breaking, source, "-o", tmp_path / "out")[0] == 3
    good = [text for text in some_texts(12) if "Acme" not in text]
    assert [row["text"] for row in rows(tmp_path / "out")] == good
    assert {r["reason"] for r in rejected(tmp_path / "out")} == {
        "LookupError: Acme again"
    }


@pytest.mark.parametrize(
    ("error", "saying"),
    [
        (ConnectionError, "A server that the pipeline needs cannot be reached"),
        (AnnotateError, "Acme again"),
    ],
)
def test_annotate_error_of_a_server_or_of_the_run_ends_the_run(
    breaking: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    saying: str,
) -> None:
    source = write_parquet(tmp_path / "in.parquet", some_texts(12))
    monkeypatch.setattr(Breaking, "error", error)
    if error is ConnectionError:  # the probe fails, too
        monkeypatch.setattr(Breaking, "away", "")
    fails(breaking, source, "-o", tmp_path / "out", saying=saying)
    assert not (tmp_path / "out" / "rejected").exists()


class Reporting:
    """A component that reports a Doc and yields it all the same."""

    def __call__(self, doc: Doc) -> Doc:
        if "Acme" in doc.text:
            self.error_handler("reporting", self, [doc], ValueError("Acme again"))
        return doc

    def set_error_handler(self, error_handler):  # type: ignore[no-untyped-def]
        self.error_handler = error_handler


@Language.factory("reporting")
def make_reporting(nlp: Language, name: str) -> Reporting:
    return Reporting()


def test_annotate_text_that_is_reported_and_yielded_is_rejected_only(
    tmp_path: Path,
) -> None:
    nlp = trained()
    nlp.add_pipe("reporting")
    nlp.to_disk(tmp_path / "nlp")
    source = write_parquet(tmp_path / "in.parquet", TEXTS)
    assert annotate(tmp_path / "nlp", source, "-o", tmp_path / "out")[0] == 3
    good = [text for text in TEXTS if "Acme" not in text]
    assert [row["text"] for row in rows(tmp_path / "out")] == good
    bad = [record["content"]["text"] for record in rejected(tmp_path / "out")]
    assert bad == [text for text in TEXTS if "Acme" in text]
