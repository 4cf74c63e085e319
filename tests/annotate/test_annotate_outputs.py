"""`spacy padellm annotate`: output folders of other runs, or that are not writable.

Nothing in them is overwritten.
"""

from __future__ import annotations

import errno
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from annotate_helpers import (
    TEXTS,
    annotate,
    fails,
    rejected,
    rows,
    shards,
    some_texts,
    write_jsonl,
    write_parquet,
)
from helpers import trained

from spacy_padellm.annotate.files import AnnotateError
from spacy_padellm.annotate.output import wrap_write_errors


def state(output: Path) -> dict[str, tuple[int, bytes]]:
    """All files with content and inode; a rewritten file has another inode."""
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in files}


def refused(output: Path, *command: object, difference: str) -> None:
    """Check that the command refuses another run's folder and leaves it unchanged."""
    before = state(output)
    saying = f"{output} belongs to another run: {difference}"
    fails(*command, "-o", output, saying=saying)
    assert state(output) == before


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--shard-size", 5), "its shard_size is 10000, not 5. Give another --output"),
        (("--format", "spacy"), "its format is 'parquet', not 'spacy'"),
        (("--keep-columns", "id"), "its keep_columns is [], not ['id']"),
        (("--text-column", "body"), "its text_column is 'text', not 'body'"),
    ],
)
def test_annotate_outputs_of_other_options(
    pipeline: Path,
    source: Path,
    output: Path,
    options: tuple[object, ...],
    difference: str,
) -> None:
    annotate(pipeline, source, "-o", output)
    refused(output, pipeline, source, *options, difference=difference)


def test_annotate_outputs_of_another_pipeline(
    pipeline: Path, source: Path, output: Path, tmp_path: Path
) -> None:
    annotate(pipeline, source, "-o", output)
    trained(threshold=0.9).to_disk(tmp_path / "nlp")
    saying = "it was annotated by another pipeline, or an older state of it"
    refused(output, tmp_path / "nlp", source, difference=saying)


def test_annotate_outputs_of_a_version_with_other_columns(
    pipeline: Path, source: Path, output: Path
) -> None:
    annotate(pipeline, source, "-o", output)
    manifest = output / "manifest.json"
    content = json.loads(manifest.read_text("utf8"))
    del content["run"]["added_columns"]
    manifest.write_text(json.dumps(content), "utf8")
    saying = "another version began it, whose files have other columns"
    refused(output, pipeline, source, difference=saying)


def change_manifest(output: Path, change: Callable[[Any], object]) -> None:
    path = output / "manifest.json"
    manifest = json.loads(path.read_text("utf8"))
    change(manifest["run"])
    path.write_text(json.dumps(manifest), "utf8")


@pytest.mark.parametrize("package", ["spacy-padellm", "spacy"])
def test_annotate_outputs_of_another_version(
    pipeline: Path, source: Path, output: Path, package: str
) -> None:
    annotate(pipeline, source, "-o", output)
    change_manifest(output, lambda run: run["versions"].update({package: "0.0.9"}))
    saying = f"it was begun with {package} 0.0.9, and "
    refused(output, pipeline, source, difference=saying)
    saying = f"pip install '{package}==0.0.9'). Give another --output"
    fails(pipeline, source, "-o", output, saying=saying)


def test_annotate_outputs_whose_versions_are_unknown_are_continued(
    pipeline: Path, source: Path, output: Path
) -> None:
    annotate(pipeline, source, "-o", output, "--shard-size", 5)
    change_manifest(output, lambda run: run.pop("versions"))
    shards(output)[1].unlink()
    code, words = annotate(pipeline, source, "-o", output, "--shard-size", 5)
    assert code == 0, words
    assert "Done before: 2 of 3 shards" in words


def test_annotate_outputs_of_finished_runs_have_no_attempts(
    pipeline: Path, source: Path, output: Path
) -> None:
    annotate(pipeline, source, "-o", output, "--shard-size", 5)
    # as a run on Ray leaves them if it stops with an error
    (output / "attempts" / "part-000001").mkdir(parents=True)
    (output / "attempts" / "part-000001" / "x").touch()
    shards(output)[1].unlink()
    assert annotate(pipeline, source, "-o", output, "--shard-size", 5)[0] == 0
    assert {path.name for path in output.iterdir()} == {
        "done",
        "manifest.json",
        "shards",
    }


def test_annotate_outputs_of_other_inputs(
    pipeline: Path, source: Path, output: Path
) -> None:
    annotate(pipeline, source, "-o", output)
    other = write_parquet(source.with_name("other.parquet"), TEXTS)
    saying = f"the input {other} is new"
    refused(output, pipeline, source, other, difference=saying)
    saying = f"its input {source} is not among those that are given now"
    refused(output, pipeline, other, difference=saying)
    write_parquet(source, some_texts(13))
    saying = f"the input {source} has changed"
    refused(output, pipeline, source, difference=saying)


def test_annotate_outputs_folder_with_other_files_is_an_error(
    pipeline: Path, source: Path, output: Path
) -> None:
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    saying = f"{output} is not empty, and no earlier run made it (it holds thesis.tex)"
    fails(pipeline, source, "-o", output, saying=saying)
    assert [path.name for path in output.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: "{",
        lambda manifest: "[]",
        lambda manifest: "[" * 10**5,
        lambda manifest: json.dumps({**manifest, "run": 5}),
        lambda manifest: json.dumps({**manifest, "footers": []}),
        lambda manifest: json.dumps({**manifest, "shards": [[7, 0, 1, 0]]}),
        lambda manifest: json.dumps({**manifest, "schema": "AAAA"}),
    ],
)
def test_annotate_outputs_manifest_that_is_broken(
    pipeline: Path, source: Path, output: Path, damage: Callable[[Any], str]
) -> None:
    annotate(pipeline, source, "-o", output)
    manifest = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(damage(manifest))
    before = state(output)
    fails(pipeline, source, "-o", output, saying="no earlier run made it (manifest")
    assert state(output) == before


def test_annotate_outputs_that_is_a_file(
    pipeline: Path, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    saying = f"Cannot write {tmp_path}/out: "
    fails(pipeline, source, "-o", tmp_path / "out", saying=saying)
    assert (tmp_path / "out").read_text() == "mine"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow, so that writing fails as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def noise(places: int) -> str:
    """Make a text that compresses badly."""
    return "".join(chr(0x4E00 + place * 7919 % 20000) for place in range(places))


@pytest.mark.parametrize(
    ("output_format", "workers"),
    [
        ("parquet", 1),
        ("spacy", 1),
        pytest.param("parquet", 2, marks=pytest.mark.slow),
    ],
)
def test_annotate_outputs_no_space_for_a_shard(
    pipeline: Path, output: Path, tmp_path: Path, output_format: str, workers: int
) -> None:
    columns = {"noise": [*[""] * 5, noise(10_000)]}
    source = write_parquet(tmp_path / "in.parquet", some_texts(6), **columns)
    options = ("--shard-size", 5, "--format", output_format, "--keep-columns", "noise")
    command = (pipeline, source, "-o", output, *options, "--workers", workers)
    with largest_file(20_000):
        fails(*command, saying="No space left to write")
    # with several workers the other shard may be unfinished
    assert len(shards(output)) == 1 or workers > 1
    assert workers > 1 or list(output.glob("unfinished/*")) == []
    before = state(output / "shards")
    code, words = annotate(*command)
    assert code == 0, words
    assert f"Done before: {len(before)} of 2 shards" in words or not before
    assert len(shards(output)) == 2
    assert before.items() <= state(output / "shards").items()


def test_annotate_outputs_no_space_for_the_manifest(
    pipeline: Path, source: Path, output: Path
) -> None:
    with largest_file(300):
        saying = f"No space left to write {output}/manifest.json"
        fails(pipeline, source, "-o", output, saying=saying)
    assert state(output) == {}
    assert annotate(pipeline, source, "-o", output)[0] == 0
    assert len(rows(output)) == 12


def test_annotate_outputs_no_space_for_bad_records(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", some_texts(5))
    with source.open("a", encoding="utf8") as file:
        file.write(noise(10_000) + "\n")
    with largest_file(20_000):
        saying = f"No space left to write {output}/rejected/part-000000.jsonl"
        fails(pipeline, source, "-o", output, saying=saying)
    # otherwise it would succeed without them
    assert shards(output) == []
    assert annotate(pipeline, source, "-o", output)[0] == 3
    assert [record["row"] for record in rejected(output)] == [6]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_annotate_outputs_full_disk_has_its_own_message(code: int) -> None:
    with (
        pytest.raises(AnnotateError, match="No space left to write x"),
        wrap_write_errors("x"),
    ):
        raise OSError(code, "full")
    with pytest.raises(AnnotateError, match="Cannot write x"), wrap_write_errors("x"):
        raise OSError(errno.EACCES, "not yours")


def test_annotate_outputs_of_a_run_that_could_not_begin_are_free(
    pipeline: Path, source: Path, output: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(pipeline, broken)
    (broken / "meta.json").write_text("{")
    fails(broken, source, "-o", output, saying="cannot be used")
    assert annotate(pipeline, source, "-o", output)[0] == 0
    assert len(rows(output)) == len(some_texts(12))
