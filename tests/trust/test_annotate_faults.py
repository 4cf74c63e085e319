"""`spacy padellm annotate`: two runs, changed inputs, damaged outputs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

import spacy
from annotate_helpers import (
    TEXTS,
    annotate,
    contents,
    fails,
    rejected,
    rows,
    shards,
    some_texts,
    write_jsonl,
)
from helpers import make_nlp, model_folder, named, train, trained
from spacy.tokens import Doc

from spacy_padellm.annotate import (
    lease,
    output as outputs,
    pipeline as pipelines,
    run_local,
    worker,
)
from spacy_padellm.annotate.files import AnnotateError, InputFile
from spacy_padellm.annotate.lease import hold_lease
from spacy_padellm.annotate.output import create_file
from spacy_padellm.annotate.plan import Shard
from spacy_padellm.annotate.records import RowRange

IN_USE = "Another run is writing to"
TAKEN = "Another run has taken over"
CHANGED = "was changed while it was annotated"


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen after the first shard, and before the next one."""

    def install(act: Callable[[], object]) -> None:
        annotate_shard, done = run_local.annotate_shard, []

        def work(*args: Any, **options: Any) -> None:
            annotate_shard(*args, **options)
            if not done:
                act()
            done.append(True)

        monkeypatch.setattr(run_local, "annotate_shard", work)

    return install


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen while the first shard is annotated."""

    def install(act: Callable[[], object]) -> None:
        annotate_texts, done = worker.annotate_texts, []

        def work(*args: Any, **options: Any) -> Any:
            if not done:
                act()
            done.append(True)
            return annotate_texts(*args, **options)

        monkeypatch.setattr(worker, "annotate_texts", work)

    return install


# Errors that nobody expected


def test_annotate_faults_unknown_error_fails_its_shard_only(
    pipeline: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", some_texts(12))
    write, done = worker.write_facts, []

    def break_once(*args: Any) -> None:
        done.append(True)
        if len(done) == 1:
            raise RuntimeError("out of tune")
        write(*args)

    monkeypatch.setattr(worker, "write_facts", break_once)
    saying = "1 of 3 shards are not done: RuntimeError: out of tune (in rows 1 to 5 of "
    saying += f"{source})"
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=saying)
    assert len(shards(output)) == 2


class Silent(Exception):
    """An error that cannot tell what it is."""

    def __str__(self) -> str:
        raise TypeError


@spacy.Language.component("tests_faults_at_bob")
def faults_at_bob(doc: Doc) -> Doc:
    """A component that fails, or ends the process, for some texts."""
    if "Bob Silent" in doc.text:
        raise Silent
    if "Bob Exit" in doc.text:
        sys.exit(0)
    if "Bob Stop" in doc.text:
        raise KeyboardInterrupt
    return doc


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A pipeline with that component."""
    nlp = trained()
    nlp.add_pipe("tests_faults_at_bob")
    nlp.to_disk(tmp_path / "faulty")
    return tmp_path / "faulty"


def test_annotate_faults_component_that_exits_fails_its_shard_only(
    faulty: Path, output: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*TEXTS[:3], "Bob Exit", *TEXTS[:4]])
    saying = "1 of 2 shards are not done: SystemExit: 0 (in rows 1 to 4 of "
    fails(faulty, source, "-o", output, "--shard-size", 4, saying=saying)
    assert len(shards(output)) == 1


def test_annotate_faults_error_that_cannot_be_told_rejects_its_text(
    faulty: Path, output: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*TEXTS[:3], "Bob Silent"])
    code, words = annotate(faulty, source, "-o", output)
    assert code == 3, words
    (record,) = rejected(output)
    assert record["reason"] == "tests_faults_at_bob: Silent: Silent"


@pytest.mark.parametrize(
    ("error", "words"),
    [(Silent(), "Silent: Silent"), (SystemExit(), "SystemExit: SystemExit")],
)
def test_annotate_faults_worker_tells_an_error_of_any_kind(
    error: BaseException, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(nlp: object, job: object, shard: object, *, report: object) -> None:
        raise error

    shard = Shard(0, InputFile("a.txt", "text", 9, ""), RowRange(0, 5))
    monkeypatch.setattr(run_local, "load_job", lambda job: None)
    monkeypatch.setattr(worker, "_annotate_shard", fail)
    command: Any = PretendedCommand(shard)
    run_local._worker_main(command, None, [])  # type: ignore[arg-type]
    _, (kind, message) = command.received
    assert kind == "failed"
    assert message.startswith(f"{words} (in rows 1 to 5 of a.txt)")


def test_annotate_faults_ctrl_c_within_a_shard_ends_the_run(
    faulty: Path, output: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ["Bob Stop", *TEXTS])
    code, _ = annotate(faulty, source, "-o", output)
    assert code == 130


@pytest.mark.parametrize(
    ("error", "words"),
    [(Silent(), "Silent"), (SystemExit(2), "SystemExit: 2")],
)
def test_annotate_faults_pipeline_that_cannot_be_loaded_is_told(
    error: BaseException,
    words: str,
    pipeline: Path,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(pipelines, "load_pipeline", fail)
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    saying = f"cannot be used: {words}. Give a folder"
    fails(pipeline, source, "-o", output, saying=saying)


class PretendedCommand:
    """The command's end of a worker's connection."""

    def __init__(self, *shards: object) -> None:
        self.shards = [*shards, None]
        self.received: list[Any] = []

    def send(self, message: Any) -> None:
        if self.shards is None:
            raise BrokenPipeError
        self.received.append(message)

    def recv(self) -> Any:
        return self.shards.pop(0)


def test_annotate_faults_os_error_of_a_shard_reaches_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(nlp: object, job: object, shard: object, *, report: object) -> None:
        raise OSError("out of tune")

    shard = Shard(0, InputFile("a.txt", "text", 9, ""), RowRange(0, 5))
    monkeypatch.setattr(run_local, "load_job", lambda job: None)
    monkeypatch.setattr(worker, "_annotate_shard", fail)
    command: Any = PretendedCommand(shard)
    run_local._worker_main(command, None, [])  # type: ignore[arg-type]
    ready, (kind, message) = command.received
    assert (ready, kind) == (("ready", None), "failed")
    assert message.startswith("OSError: out of tune (in rows 1 to 5 of a.txt). Run ")


def test_annotate_faults_worker_ends_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_local, "load_job", lambda job: None)
    command: Any = PretendedCommand()
    command.shards = None
    with pytest.raises(SystemExit) as ended:
        run_local._worker_main(command, None, [])  # type: ignore[arg-type]
    assert ended.value.code == 0


# Two runs


def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def write_lease(output: Path, *, age: float = 0, **facts: object) -> None:
    """Write the lease of another run."""
    known = {"host": "h", "machine": lease._machine(), "pid": os.getppid(), "id": "x"}
    path = output / "lease.json"
    output.mkdir(exist_ok=True)
    path.write_text(json.dumps({**known, **facts}))
    os.utime(path, (time.time() - age,) * 2)


def test_lease_of_a_living_run_refuses_a_second_one(
    pipeline: Path, source: Path, output: Path
) -> None:
    write_lease(output)
    fails(pipeline, source, "-o", output, saying=IN_USE)
    assert [path.name for path in output.iterdir()] == ["lease.json"]


def test_lease_of_this_process_refuses_a_second_run(
    pipeline: Path, source: Path, output: Path
) -> None:
    with hold_lease(str(output)):
        fails(pipeline, source, "-o", output, saying=f"process {os.getpid()} on")
    assert annotate(pipeline, source, "-o", output)[0] == 0


def test_lease_of_a_dead_process_ends_at_once(
    pipeline: Path, source: Path, output: Path
) -> None:
    write_lease(output, pid=dead_pid())
    assert annotate(pipeline, source, "-o", output)[0] == 0
    assert not (output / "lease.json").exists()


def test_lease_of_another_machine_ends_after_a_while(
    pipeline: Path, source: Path, output: Path
) -> None:
    there = {"machine": "another", "pid": dead_pid()}
    write_lease(output, age=lease.EXPIRES_SECONDS - 10, **there)
    fails(pipeline, source, "-o", output, saying=IN_USE)
    write_lease(output, age=lease.EXPIRES_SECONDS + 1, **there)
    assert annotate(pipeline, source, "-o", output)[0] == 0


HUGE = json.dumps({"host": "h", "machine": lease._machine(), "pid": 10**30})


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"pid": "x"}', "[" * 10**5, HUGE, HUGE.replace("0" * 30, "e999")],
)
def test_lease_that_is_damaged_ends_after_a_while(output: Path, content: str) -> None:
    write_lease(output)
    (output / "lease.json").write_text(content)
    with pytest.raises(AnnotateError, match=IN_USE), hold_lease(str(output)):
        pass
    old = time.time() - lease.EXPIRES_SECONDS - 1
    os.utime(output / "lease.json", (old, old))
    with hold_lease(str(output)):
        pass


def test_lease_is_renewed(output: Path) -> None:
    with hold_lease(str(output)):
        path = output / "lease.json"
        os.utime(path, (0, 0))
        end = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_lease_of_a_run_that_ends_leaves_no_folder(output: Path) -> None:
    with hold_lease(str(output)):
        assert (output / "lease.json").exists()
    assert not output.exists()


def test_lease_is_taken_by_one_of_many(output: Path) -> None:
    write_lease(output, pid=dead_pid())
    held = []
    for _ in range(5):
        manager = hold_lease(str(output))
        try:
            manager.__enter__()
        except AnnotateError:
            continue
        held.append(manager)
    assert len(held) == 1
    held[0].__exit__(None, None, None)


def test_lease_that_is_lost_stops_the_run(
    pipeline: Path,
    source: Path,
    output: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    between(lambda: write_lease(output, id="another"))
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=TAKEN)
    assert len(shards(output)) == 1
    assert "another" in (output / "lease.json").read_text()


def test_lease_that_is_lost_within_a_shard_leaves_no_file(
    pipeline: Path,
    source: Path,
    output: Path,
    within: Callable[[Callable[[], object]], None],
) -> None:
    within(lambda: write_lease(output, id="another"))
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=TAKEN)
    assert shards(output) == []


def test_manifest_that_is_replaced_stops_the_run(
    pipeline: Path,
    source: Path,
    output: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    between(lambda: (output / "manifest.json").write_text("{}"))
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=TAKEN)
    assert len(shards(output)) == 1


def test_output_folder_that_a_worker_does_not_have_is_to_be_shared(
    pipeline: Path,
    source: Path,
    output: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    def move_away() -> None:
        for name in ("lease.json", "manifest.json"):
            (output / name).unlink()

    between(move_away)
    saying = f"are not in {output} on {platform.node()}. All machines must share"
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=saying)
    assert len(shards(output)) == 1


def test_manifest_that_is_lost_alone_stops_the_run(
    pipeline: Path,
    source: Path,
    output: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    between(lambda: (output / "manifest.json").unlink())
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=TAKEN)


@pytest.mark.parametrize("links", [True, False])
def test_output_file_that_exists_is_not_created(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object) -> None:
        raise PermissionError

    if not links:
        monkeypatch.setattr(outputs.os, "link", no_links)
    # another process is faster after the first look
    monkeypatch.setattr(outputs, "exists", lambda path: False)
    path = f"{tmp_path}/manifest.json"
    assert create_file(str(tmp_path), path, b"one")
    assert not create_file(str(tmp_path), path, b"two")
    assert Path(path).read_bytes() == b"one"
    assert list((tmp_path / "unfinished").iterdir()) == []


# Inputs


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"id": 99, "text": "Bob"}\n')


def replace(path: Path) -> None:
    write_jsonl(path.with_name("new"), some_texts(13)[1:])
    path.with_name("new").replace(path)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("change", [append, replace, overwrite, Path.unlink])
@pytest.mark.parametrize("when", ["between", "within"])
def test_input_that_changes_stops_the_run(
    pipeline: Path,
    output: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    when: str,
    request: pytest.FixtureRequest,
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", some_texts(12))
    request.getfixturevalue(when)(lambda: change(source))
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=CHANGED)
    done = rows(output) if when == "between" else []
    assert [row["text"] for row in done] == some_texts(12)[: len(done)]
    assert len(shards(output)) == (when == "between")


def test_input_that_grows_after_its_last_shard_is_told(
    pipeline: Path,
    output: Path,
    tmp_path: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    between(lambda: append(source))
    fails(pipeline, source, "-o", output, saying=CHANGED)


def test_input_with_another_footer_stops_the_run(
    pipeline: Path,
    source: Path,
    output: Path,
    between: Callable[[Callable[[], object]], None],
) -> None:
    """The same size and the same time, but not the same file."""

    def change() -> None:
        before = source.stat()
        data = source.read_bytes()
        # within the footer, a part that no reader needs
        place = data.rindex(b"parquet-cpp-arrow")
        source.write_bytes(data[:place] + b"PARQUET" + data[place + 7 :])
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    between(change)
    fails(pipeline, source, "-o", output, "--shard-size", 5, saying=CHANGED)
    assert len(shards(output)) == 1


def test_input_folder_that_cannot_be_read_is_told(
    pipeline: Path, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scandir = source.parent / "closed", os.scandir
    closed.mkdir()

    # root may read all folders
    def scan(path: Any = ".") -> Any:
        if path == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    for pattern in (source.parent, source.parent / "**"):
        fails(pipeline, pattern, "-o", output, saying=f"denied: '{closed}'")
    assert not output.exists()


@pytest.mark.parametrize("pattern", ["", "*/*.jsonl", "**/*.jsonl"])
def test_input_folder_that_is_a_link_is_read(
    pipeline: Path, output: Path, tmp_path: Path, pattern: str
) -> None:
    inputs, elsewhere = tmp_path / "inputs", tmp_path / "elsewhere"
    for folder in (inputs / "here", elsewhere):
        folder.mkdir(parents=True)
        write_jsonl(folder / "a.jsonl", [folder.name])
    (inputs / "linked").symlink_to(elsewhere)
    # these two lead around in circles
    (inputs / "here" / "up").symlink_to(inputs)
    (elsewhere / "self").symlink_to(elsewhere)
    assert annotate(pipeline, inputs / pattern, "-o", output)[0] == 0
    assert sorted(row["text"] for row in rows(output)) == ["elsewhere", "here"]


@pytest.fixture
def special(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a named pipe or a socket."""
    opened = []

    def make(kind: str) -> Path:
        path = tmp_path / "special.jsonl"
        if kind == "pipe":
            os.mkfifo(path)
        else:
            server = socket.socket(socket.AF_UNIX)
            opened.append(server)
            server.bind(str(path))
        return path

    yield make
    for server in opened:
        server.close()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("pattern", ["special.jsonl", "", "*.jsonl"])
def test_input_that_is_no_file_is_refused(
    pipeline: Path,
    output: Path,
    tmp_path: Path,
    kind: str,
    pattern: str,
    special: Callable[[str], Path],
) -> None:
    path = special(kind)
    saying = f"{path} is a pipe, a device or a socket, not a file"
    fails(pipeline, tmp_path / pattern, "-o", output, saying=saying)
    assert not output.exists()


@pytest.mark.parametrize(
    "name", ["a::b.jsonl", "file:x.jsonl", "local:x.jsonl", "zip::in.jsonl"]
)
@pytest.mark.parametrize("form", ["name", "path", "folder", "glob"])
def test_input_names_are_plain(
    pipeline: Path,
    tmp_path: Path,
    name: str,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_jsonl(folder / name, TEXTS[:2])
    monkeypatch.chdir(folder)
    kinds = {"name": name, "path": folder / name, "folder": folder, "glob": "*.jsonl"}
    code, words = annotate(pipeline, kinds[form], "-o", tmp_path / "out")
    assert code == 0, words
    assert [row["text"] for row in rows(tmp_path / "out")] == TEXTS[:2]


@pytest.mark.parametrize("name", ["file:out", "a::out"])
def test_output_names_are_plain(
    pipeline: Path,
    source: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert annotate(pipeline, source, "-o", name)[0] == 0
    assert len(rows(tmp_path / name)) == 12


def test_input_link_that_a_glob_finds_is_read(
    pipeline: Path, source: Path, output: Path
) -> None:
    source.with_name("link.parquet").symlink_to(source)
    glob = source.parent / "link.*"
    assert annotate(pipeline, glob, "-o", output)[0] == 0
    assert len(rows(output)) == 12


# Finished shards


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("place", ["shards", "done"])
def test_finished_shard_that_is_damaged_is_done_again(
    pipeline: Path,
    source: Path,
    output: Path,
    damage: Callable[[Path], None],
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = (pipeline, source, "-o", output, "--shard-size", 5)
    annotate(*command)
    before = contents(output)
    damage(sorted((output / place).iterdir())[1])
    assert annotate(*command)[0] == 0
    assert "1 finished shard(s) were damaged, first" in caplog.text
    assert contents(output) == before


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_finished_shard_whose_bad_records_are_damaged_is_done_again(
    pipeline: Path, output: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*TEXTS, None])
    command = (pipeline, source, "-o", output)
    assert annotate(*command)[0] == 3
    before = contents(output)
    damage(output / "rejected" / "part-000000.jsonl")
    assert annotate(*command)[0] == 3
    assert contents(output) == before


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_finished_shard_that_is_damaged_during_the_run_is_told(
    pipeline: Path,
    source: Path,
    output: Path,
    damage: Callable[[Path], None],
    between: Callable[[Callable[[], object]], None],
) -> None:
    between(lambda: damage(shards(output)[0]))
    command = (pipeline, source, "-o", output, "--shard-size", 5)
    fails(*command, saying="1 finished shard(s) were deleted or changed during the run")
    assert annotate(*command)[0] == 0
    assert len(rows(output)) == 12


def test_finished_shards_of_an_earlier_version_are_kept(
    pipeline: Path, source: Path, output: Path
) -> None:
    command = (pipeline, source, "-o", output, "--shard-size", 5)
    annotate(*command)
    shutil.rmtree(output / "done")
    manifest = json.loads((output / "manifest.json").read_text())
    del manifest["footers"]
    (output / "manifest.json").write_text(json.dumps(manifest))
    shards(output)[1].unlink()
    code, words = annotate(*command)
    assert code == 0
    assert "Done before: 2 of 3 shards" in words


# Pipelines


def replaced_before_loading(
    monkeypatch: pytest.MonkeyPatch, module: Any, act: Callable[[], object]
) -> None:
    """Let something happen after the run has begun, and before the pipeline loads."""
    load = module.load_checked

    def work(name: str) -> Any:
        act()
        return load(name)

    monkeypatch.setattr(module, "load_checked", work)


def test_pipeline_that_is_replaced_stops_the_run(
    pipeline: Path,
    source: Path,
    output: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(pipeline, tmp_path / "nlp")
    other = trained(threshold=0.9)
    replaced_before_loading(
        monkeypatch, worker, lambda: other.to_disk(tmp_path / "nlp")
    )
    saying = "A worker found another pipeline under the name"
    fails(tmp_path / "nlp", source, "-o", output, saying=saying)
    assert shards(output) == []


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """A pipeline with a LoRA adapter, whose base model is in the folder `base`."""
    pytest.importorskip("peft")
    base = tmp_path / "base"
    shutil.copytree(model_folder(), base)
    nlp = make_nlp(model={**named(base), "lora": {"r": 2}})
    train(nlp, steps=1)
    nlp.to_disk(tmp_path / "nlp")
    return tmp_path / "nlp"


def test_pipeline_whose_base_model_is_replaced_is_another(
    adapted: Path, source: Path, output: Path, tmp_path: Path
) -> None:
    command = (adapted, source, "-o", output, "--shard-size", 5)
    assert annotate(*command)[0] == 0
    shards(output)[1].unlink()
    weights = tmp_path / "base" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    fails(*command, saying="it was annotated by another pipeline")


def test_pipeline_whose_part_is_a_link_is_another_when_that_changes(
    pipeline: Path, source: Path, output: Path, tmp_path: Path
) -> None:
    shutil.copytree(pipeline, tmp_path / "nlp")
    part = tmp_path / "nlp" / "padellm_ner"
    part.rename(tmp_path / "part")
    part.symlink_to(tmp_path / "part")
    command = (tmp_path / "nlp", source, "-o", output)
    assert annotate(*command)[0] == 0
    settings = tmp_path / "part" / "cfg"
    settings.write_text(settings.read_text() + " ")
    fails(*command, saying="it was annotated by another pipeline")


@pytest.mark.parametrize("inside", ["out", "padellm_ner/out"])
def test_pipeline_is_no_place_for_its_output(
    pipeline: Path, source: Path, tmp_path: Path, inside: str
) -> None:
    """The files there would make it another pipeline."""
    shutil.copytree(pipeline, tmp_path / "nlp")
    (tmp_path / "link").symlink_to(tmp_path / "nlp")
    before = sorted((tmp_path / "nlp").rglob("*"))
    for folder in ("nlp", "link"):
        output = tmp_path / folder / inside
        saying = f"The output folder {output} is in the folder of the pipeline"
        fails(tmp_path / "nlp", source, "-o", output, saying=saying)
    assert sorted((tmp_path / "nlp").rglob("*")) == before


@pytest.mark.slow
def test_pipeline_that_is_replaced_stops_workers_that_start_later(
    pipeline: Path, output: Path, tmp_path: Path
) -> None:
    from annotate_helpers import finish, start, wait_for, workers_of

    shutil.copytree(pipeline, tmp_path / "nlp")
    source = write_jsonl(tmp_path / "in.jsonl", [t * 3 for t in some_texts(600)])
    options = ("--shard-size", 20, "--workers", 2)
    process = start(tmp_path / "nlp", source, "-o", output, *options)
    wait_for(lambda: len(shards(output)) >= 2, process)
    trained(threshold=0.9).to_disk(tmp_path / "nlp")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    code, words = finish(process)
    assert code == 1
    assert "A worker found another pipeline under the name" in words
