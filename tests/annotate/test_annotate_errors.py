"""`spacy padellm annotate`: error messages for bad input, and that nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import spacy
import torch
from annotate_helpers import (
    TEXTS,
    annotate,
    compressed,
    contents,
    fails,
    rows,
    shards,
    some_texts,
    write_jsonl,
    write_parquet,
)
from helpers import NAME, REFUSING, TOO_LONG, trained, trained_folder
from spacy.tokens import DocBin

# Inputs


def test_annotate_errors_empty_folder(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    saying = f"No file to annotate in {tmp_path}/in. Give files, globs or folders of"
    fails(pipeline, tmp_path / "in", "-o", output, saying=saying)
    assert not output.exists()


@pytest.mark.parametrize("name", ["none.parquet", "none", "none/in.csv"])
def test_annotate_errors_no_such_input(
    pipeline: Path, output: Path, tmp_path: Path, name: str
) -> None:
    saying = f"Input not found: {tmp_path}/{name}. Give the path of an existing file"
    fails(pipeline, tmp_path / name, "-o", output, saying=saying)


def test_annotate_errors_glob_without_files(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    saying = f"No file to annotate in {tmp_path}/none/*.jsonl"
    fails(pipeline, tmp_path / "none" / "*.jsonl", "-o", output, saying=saying)


@pytest.mark.parametrize("name", ["in.csv", "in.json", "in", "in.parquet.gz"])
def test_annotate_errors_format_that_is_not_read(
    pipeline: Path, output: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("text\n")
    saying = f"The format of {tmp_path}/{name} is not read. Give files of: .parquet"
    fails(pipeline, tmp_path / name, "-o", output, saying=saying)
    saying = "(of a table, in pandas: df.to_json("
    fails(pipeline, tmp_path / f"{name}*", "-o", output, saying=saying)


@pytest.mark.parametrize("name", ["in.jsonl", "", "*.jsonl"])
def test_annotate_errors_input_inside_the_output(
    pipeline: Path, tmp_path: Path, name: str
) -> None:
    write_jsonl(tmp_path / "in.jsonl", TEXTS)
    saying = f"are in the output folder {tmp_path}, whose files are not annotated"
    fails(pipeline, tmp_path / name, "-o", tmp_path, saying=saying)


def test_annotate_errors_no_such_input_inside_the_output(
    pipeline: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    missing = tmp_path / "out" / "typo.jsonl"
    saying = f"Input not found: {missing}"
    fails(pipeline, source, missing, "-o", tmp_path / "out", saying=saying)


@pytest.mark.parametrize("name", ["in.txt", "in.jsonl"])
def test_annotate_errors_text_in_utf_16(
    pipeline: Path, output: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text('{"text": "Anna"}\n', "utf-16")
    saying = f"{tmp_path}/{name} is text in UTF-16, which is not read. Save it as UTF-8"
    fails(pipeline, tmp_path / name, "-o", output, saying=saying)


def test_annotate_errors_folder_of_several_formats(
    pipeline: Path, source: Path, output: Path
) -> None:
    (source.parent / "README.txt").write_text("Not a corpus.")
    saying = "holds files of several formats: parquet, text. Give a glob instead"
    fails(pipeline, source.parent, "-o", output, saying=saying)


def test_annotate_errors_file_system_that_is_unknown(
    pipeline: Path, output: Path
) -> None:
    saying = "Cannot open the file system of nowhere://in"
    fails(pipeline, "nowhere://in", "-o", output, saying=saying)


def test_annotate_errors_files_without_a_text(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").touch()
    saying = "There is no text in the 1 input file(s)"
    fails(pipeline, tmp_path / "in.txt", "-o", output, saying=saying)
    assert not output.exists()


@pytest.mark.parametrize(
    "suffix", [".parquet", ".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".spacy"]
)
def test_annotate_errors_half_written_file(
    pipeline: Path, source: Path, output: Path, suffix: str
) -> None:
    path = source.with_name(f"half{suffix}")
    data = source.read_bytes()
    lines = b'{"text": "Bob met Anna ."}\n' * 50
    if suffix.startswith(".jsonl."):
        data = compressed(lines, suffix)
    if suffix == ".spacy":
        data = DocBin(docs=map(spacy.blank("en"), TEXTS)).to_bytes()
    path.write_bytes(data[: len(data) // 2])
    saying = f"Cannot read {path}: "
    fails(pipeline, source, path, "-o", output, saying=saying)
    assert not output.exists()


def test_annotate_errors_broken_page_leaves_the_other_shards(
    pipeline: Path, source: Path, output: Path
) -> None:
    table = pa.table({"text": some_texts(12)})
    broken = source.with_name("broken.parquet")
    pq.write_table(table, broken, row_group_size=3, compression="gzip")
    data = bytearray(broken.read_bytes())
    data[4:120] = bytes(116)  # in the first row group; the footer is sound
    broken.write_bytes(data)
    command = (pipeline, broken, source, "-o", output, "--shard-size", 6)
    fails(*command, saying=f"1 of 4 shards are not done: Cannot read {broken}: ")
    done = [path.name for path in shards(output)]
    assert done == [f"part-00000{place}.parquet" for place in (1, 2, 3)]
    assert len(rows(output)) == 18
    before = contents(output)
    fails(*command, saying="1 of 4 shards are not done")
    assert contents(output) == before


def test_annotate_errors_docs_whose_words_are_missing(
    pipeline: Path, source: Path, output: Path
) -> None:
    docs = DocBin(docs=[spacy.blank("en")("Quorft met Anna .")])
    docs.strings.clear()
    broken = source.with_name("broken.spacy")
    docs.to_disk(broken)
    command = (pipeline, broken, source, "-o", output)
    fails(*command, saying=f"1 of 2 shards are not done: Cannot read {broken}: ")
    assert [path.name for path in shards(output)] == ["part-000001.parquet"]


def test_annotate_errors_link_to_nothing(
    pipeline: Path, source: Path, output: Path
) -> None:
    link = source.with_name("link.parquet")
    link.symlink_to(source.with_name("gone.parquet"))
    saying = f"Cannot read {link}: "
    fails(pipeline, source.parent, "-o", output, saying=saying)
    assert not output.exists()


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    "options", [("--text-column", "body"), ("--keep-columns", "id,body")]
)
def test_annotate_errors_column_that_is_missing(
    pipeline: Path, output: Path, tmp_path: Path, suffix: str, options: tuple[str, str]
) -> None:
    path = tmp_path / f"in.{suffix}"
    (write_parquet if suffix == "parquet" else write_jsonl)(path, TEXTS)
    saying = f"{path} has no column 'body'. Its columns: id, text. Give the column of"
    fails(pipeline, path, "-o", output, *options, saying=saying)


@pytest.mark.parametrize("content", ['[{"text": "Bob"}]', '[\n {"text":\n "Bob"}\n]\n'])
def test_annotate_errors_json_that_is_not_a_line_each(
    pipeline: Path, output: Path, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(content)
    saying = f"{path} has no JSON object on a line of its own. Write each text as an"
    fails(pipeline, path, "-o", output, saying=saying)


@pytest.mark.parametrize("suffix", ["txt", "spacy"])
def test_annotate_errors_columns_of_files_without_columns(
    pipeline: Path, output: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"in.{suffix}"
    path.write_text("Bob\n")
    if suffix == "spacy":
        DocBin(docs=[spacy.blank("en")("Bob")]).to_disk(path)
    saying = f"{path} has no column 'id'. Its columns: text."
    fails(pipeline, path, "-o", output, "--keep-columns", "id", saying=saying)


@pytest.mark.parametrize(("suffix", "kind"), [("parquet", "int64"), ("jsonl", "int")])
def test_annotate_errors_column_that_is_no_text(
    pipeline: Path, output: Path, tmp_path: Path, suffix: str, kind: str
) -> None:
    path = tmp_path / f"in.{suffix}"
    (write_parquet if suffix == "parquet" else write_jsonl)(path, TEXTS)
    saying = f"The column 'id' of {path} contains {kind}, not text. Give the column"
    fails(pipeline, path, "-o", output, "--text-column", "id", saying=saying)


def test_annotate_errors_column_of_two_types(
    pipeline: Path, source: Path, output: Path
) -> None:
    other = source.with_name("other.parquet")
    pq.write_table(pa.table({"id": ["a"], "text": ["Bob"]}), other)
    saying = f"The column 'id' cannot be kept: in {other} its values have another"
    options = ("--keep-columns", "id")
    fails(pipeline, source, other, "-o", output, *options, saying=saying)


@pytest.mark.parametrize("keep", ["text", "id,id", "entities", "nested"])
def test_annotate_errors_column_kept_twice(
    pipeline: Path, source: Path, output: Path, keep: str
) -> None:
    saying = "cannot be kept: the output would contain it twice"
    fails(pipeline, source, "-o", output, "--keep-columns", keep, saying=saying)


@pytest.mark.parametrize("depth", [0, 60, 900])
def test_annotate_errors_column_that_parquet_cannot_hold(
    pipeline: Path, output: Path, tmp_path: Path, depth: int
) -> None:
    """Objects without keys cannot be written, and deep lists cannot be read again."""
    source = tmp_path / "in.jsonl"
    value = "[" * depth + "{}" + "]" * depth
    source.write_text(f'{{"text": "Bob", "deep": {value}}}')
    saying = "The column 'deep' cannot be kept, as Parquet cannot hold its values"
    fails(pipeline, source, "-o", output, "--keep-columns", "deep", saying=saying)
    assert not output.exists()


# Pipelines


@pytest.mark.parametrize("name", ["no_such_package", "/no/such/folder"])
def test_annotate_errors_no_such_pipeline(
    source: Path, output: Path, name: str
) -> None:
    saying = f"The pipeline '{name}' cannot be used: there is no config.cfg"
    fails(name, source, "-o", output, saying=saying)


def test_annotate_errors_pipeline_without_the_component(
    source: Path, output: Path, tmp_path: Path
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "nlp")
    saying = "has no 'padellm_ner', only: sentencizer. Give a pipeline with it"
    fails(tmp_path / "nlp", source, "-o", output, saying=saying)


def test_annotate_errors_broken_model_rejects_no_text(
    source: Path, output: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder(), tmp_path / "nlp")
    weights = tmp_path / "nlp" / NAME / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    fails(tmp_path / "nlp", source, "-o", output, saying="are corrupt")
    assert not (output / "rejected").exists()


def test_annotate_errors_all_texts_fail(output: Path, tmp_path: Path) -> None:
    trained(span_getter=REFUSING).to_disk(tmp_path / "nlp")
    source = write_jsonl(tmp_path / "in.jsonl", [*[TOO_LONG] * 10, *TEXTS])
    command = (tmp_path / "nlp", source, "-o", output, "--shard-size", 10)
    saying = "1 of 2 shards are not done: all of its 10 texts failed, the last because"
    fails(*command, saying=saying)
    assert [path.name for path in shards(output)] == ["part-000001.parquet"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_annotate_errors_gpus_that_are_not_there(
    pipeline: Path, source: Path, output: Path
) -> None:
    options = ("--workers", 2, "--gpus-per-worker", 0.5)
    saying = "2 worker(s) with 0.5 GPU(s) each need more than the 0 GPU(s)"
    fails(pipeline, source, "-o", output, *options, saying=saying)


def test_annotate_errors_folder_of_pipelines(
    pipeline: Path, source: Path, output: Path, tmp_path: Path
) -> None:
    shutil.copytree(pipeline, tmp_path / "nlp" / "model-best")
    saying = f"there is no config.cfg in {tmp_path}/nlp"
    fails(tmp_path / "nlp", source, "-o", output, saying=saying)
    assert not output.exists()


def test_annotate_errors_columns_of_one_name(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "in.parquet")
    saying = "in.parquet has several columns called 'text'. Rename all but one"
    fails(pipeline, tmp_path / "in.parquet", "-o", output, saying=saying)


@pytest.mark.parametrize("sign", "*?[")
def test_annotate_errors_remote_output_that_is_a_pattern(
    pipeline: Path, source: Path, sign: str
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/outs/unfinished/mine", b"")
    name = f"memory://out{sign}"
    try:
        fails(pipeline, source, "-o", name, saying="Give an --output without them")
        assert list(memory.store) == ["/outs/unfinished/mine"]
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]


def test_annotate_errors_local_output_may_have_any_name(
    pipeline: Path, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out[1]*?"
    others = tmp_path / "out1xy" / "unfinished"
    others.mkdir(parents=True)
    for _ in range(2):
        assert annotate(pipeline, source, "-o", output)[0] == 0
    assert len(list((output / "shards").iterdir())) == 1
    assert others.exists()
