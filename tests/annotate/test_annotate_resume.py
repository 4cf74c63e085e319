"""`spacy padellm annotate`: runs that are interrupted and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from annotate_helpers import (
    annotate,
    contents,
    finish,
    kill,
    rejected,
    shards,
    some_texts,
    start,
    wait_for,
    workers_of,
    write_jsonl,
)
from helpers import trained_folder

Command = tuple[Any, ...]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that takes seconds, with a few bad records."""
    texts: list[object] = [text * 3 for text in some_texts(600)]
    texts[5] = texts[333] = texts[599] = None
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "in.jsonl", texts)


@pytest.fixture(scope="module")
def undisturbed(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The output of an uninterrupted run."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    code, words = annotate(*command(source, output))
    assert code == 3, words
    return contents(output)


def command(source: Path, output: Path) -> Command:
    return (
        trained_folder(),
        source,
        "--output",
        output,
        "--shard-size",
        20,
        "--keep-columns",
        "id",
    )


def inodes(output: Path) -> dict[str, int]:
    """Shows which files were rewritten."""
    return {path.name: path.stat().st_ino for path in shards(output)}


def test_annotate_resume_finished_run_does_nothing(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*some_texts(5), None])
    before = annotate(*command(source, tmp_path / "out"))
    files, written = contents(tmp_path / "out"), inodes(tmp_path / "out")
    code, words = annotate(*command(source, tmp_path / "out"))
    assert "Done before: 1 of 1 shard" in words
    assert code == before[0] == 3
    assert contents(tmp_path / "out") == files
    assert inodes(tmp_path / "out") == written


def test_annotate_resume_annotates_missing_shards_only(
    tmp_path: Path,
) -> None:
    small = write_jsonl(tmp_path / "in.jsonl", [*some_texts(50), None])
    output = tmp_path / "out"
    annotate(*command(small, output))
    files, written = contents(output), inodes(output)
    shards(output)[1].unlink()
    (output / "rejected.jsonl").unlink()
    code, words = annotate(*command(small, output))
    assert code == 3
    assert "Done before: 2 of 3 shards" in words
    assert contents(output) == files
    again = {name for name, inode in inodes(output).items() if inode != written[name]}
    assert again <= {"part-000001.parquet"}


def test_annotate_resume_records_rejected_by_a_killed_attempt_are_not_kept(
    tmp_path: Path,
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", some_texts(5))
    output = tmp_path / "out"
    annotate(*command(source, output))
    # it rejected a record and was killed before the shard's file appeared
    shards(output)[0].unlink()
    (output / "rejected").mkdir()
    (output / "rejected" / "part-000000.jsonl").write_text('{"row": 1}\n', "utf8")
    code, _ = annotate(*command(source, output))
    assert code == 0
    assert rejected(output) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_annotate_resume_after_the_command_is_killed(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    output = tmp_path / "out"
    process = start(*command(source, output), "--workers", workers)
    wait_for(lambda: len(shards(output)) >= 2, process)
    kill(process)
    assert len(shards(output)) < 30
    assert not (output / "rejected.jsonl").exists()
    code, words = annotate(*command(source, output))
    assert code == 3, words
    assert "Done before" in words
    assert contents(output) == undisturbed
    assert not (output / "unfinished").exists() or workers > 1


@pytest.mark.slow
def test_annotate_resume_killed_workers_are_replaced(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = start(*command(source, output), "--workers", 2)
    wait_for(lambda: len(shards(output)) >= 2, process)
    victims = workers_of(process)
    assert len(victims) == 2
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    assert len(shards(output)) < 30
    code, words = finish(process)
    assert code == 3, words
    assert contents(output) == undisturbed


@pytest.mark.slow
def test_annotate_resume_shard_that_kills_its_workers_fails(
    tmp_path: Path,
) -> None:
    output = tmp_path / "out"
    small = write_jsonl(tmp_path / "in.jsonl", some_texts(3000))
    process = start(trained_folder(), small, "--output", output, "--workers", 2)
    for attempts in (1, 2, 3):
        (worker,) = wait_for(partial(_at_work, process, output, attempts), process)
        os.kill(worker, signal.SIGKILL)
    code, words = finish(process)
    assert code == 1
    assert "1 of 1 shards are not done: its worker died 3 times" in words
    assert "rows 1 to 3000" in words


def _at_work(
    process: subprocess.Popen[str], output: Path, attempts: int
) -> list[int] | None:
    """Find the workers once there were so many attempts at the shard."""
    begun = list((output / "unfinished").glob("part-*"))
    return workers_of(process) if len(begun) == attempts else None


@pytest.fixture
def listening() -> Iterator[None]:
    """Let new processes listen to Ctrl-C, also if a shell started the tests as a job
    in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("workers", [1, 2])
def test_annotate_resume_after_ctrl_c(
    source: Path, undisturbed: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    output = tmp_path / "out"
    process = start(*command(source, output), "--workers", workers, group=True)
    wait_for(lambda: len(shards(output)) >= 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, workers too
    code, words = finish(process)
    assert code == 130
    assert "To go on, give the same command again" in words
    assert "Traceback" not in words
    code, words = annotate(*command(source, output))
    assert code == 3, words
    assert contents(output) == undisturbed


def test_annotate_resume_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    source = write_jsonl(tmp_path / "in.jsonl", some_texts(5))
    monkeypatch.setattr("spacy_padellm.annotate.run_local.load_job", stop)
    code, words = annotate(*command(source, tmp_path / "out"))
    assert code == 130
    assert "To go on, give the same command again" in words
