"""`spacy padellm annotate`: object stores, whose errors may be of any kind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("pyarrow")

import fsspec
from annotate_helpers import TEXTS, annotate, fails, rows
from fsspec.implementations.memory import MemoryFileSystem

from spacy_padellm.annotate import lease
from spacy_padellm.annotate.files import (
    AnnotateError,
    check_file_unchanged,
    find_inputs,
)
from spacy_padellm.annotate.lease import hold_lease
from spacy_padellm.annotate.output import atomic_file

WAIT_SECONDS = 60  # before a test gives up


class StoreError(Exception):
    """An error of a client of an object store, which is no OSError."""


class FaultyStore(MemoryFileSystem):
    """A file system where one operation fails for paths that hold a word."""

    protocol = "faulty"
    fault: ClassVar[tuple[str, str]] = ("", "")
    errors: ClassVar[int] = 0

    @classmethod
    def check(cls, operation: str, *paths: object) -> None:
        failing, word = cls.fault
        if operation == failing and any(word in str(path) for path in paths):
            cls.errors += 1
            raise StoreError("access denied")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("faulty://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self.check(f"open {mode}", path)
        file = super()._open(path, mode=mode, **options)
        if mode == "wb":
            write = file.write

            def checked(data: bytes) -> int:
                self.check("write", path)
                return int(write(data))

            file.write = checked
        return file


def failing(name: str) -> Callable[..., Any]:
    def method(self: FaultyStore, *args: Any, **options: Any) -> Any:
        self.check(name, *args)
        return getattr(MemoryFileSystem, name)(self, *args, **options)

    return method


for each in ("exists", "find", "info", "ls", "makedirs", "mv", "cat_file", "pipe_file"):
    setattr(FaultyStore, each, failing(each))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStore]]:
    fsspec.register_implementation("faulty", FaultyStore, clobber=True)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    fs = fsspec.filesystem("faulty")
    fs.pipe("/corpus/in.jsonl", json.dumps({"text": TEXTS[0]}).encode())
    yield FaultyStore
    FaultyStore.fault, FaultyStore.errors = ("", ""), 0
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


COMMAND = ("faulty://corpus", "-o", "faulty://out")


@pytest.mark.parametrize(
    ("operation", "word", "saying"),
    [
        ("find", "corpus", "Cannot read faulty://corpus: access denied"),
        ("open rb", "corpus", "Cannot read faulty:///corpus/in.jsonl: access denied"),
        ("exists", "out", "Cannot write faulty:///out: access denied"),
        ("makedirs", "out", "Cannot write faulty:///out: access denied"),
        ("open wb", "lease", "Cannot write faulty:///out/lease.json: access denied"),
        ("mv", "part-", "Cannot write faulty:///out/done/part-000000.json: access"),
        ("write", ".parquet", "out/shards/part-000000.parquet: access denied"),
    ],
)
def test_object_store_error_of_any_kind_is_one_message(
    store: type[FaultyStore], pipeline: Path, operation: str, word: str, saying: str
) -> None:
    store.fault = (operation, word)
    fails(pipeline, *COMMAND, saying=saying)
    assert store.errors
    store.fault = ("", "")
    assert annotate(pipeline, *COMMAND)[0] == 0


def test_object_store_that_hides_the_manifest_is_one_message(
    store: type[FaultyStore], pipeline: Path
) -> None:
    assert annotate(pipeline, *COMMAND)[0] == 0
    store.fault = ("cat_file", "manifest")
    saying = "Cannot write faulty:///out/manifest.json: access denied"
    fails(pipeline, *COMMAND, saying=saying)


def test_object_store_errors_of_the_block_are_not_those_of_writing(
    store: type[FaultyStore],
) -> None:
    with (
        pytest.raises(KeyError, match="of the pipeline"),
        atomic_file("faulty://out", "faulty://out/a.txt"),
    ):
        raise KeyError("of the pipeline")
    assert fsspec.filesystem("faulty").find("/out") == []


def test_object_store_that_fails_for_a_while_does_not_end_the_lease(
    store: type[FaultyStore],
) -> None:
    fs = fsspec.filesystem("faulty")

    def wait_until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    with hold_lease("faulty://out"):
        store.fault = ("cat_file", "lease")
        wait_until(lambda: store.errors > 1)
        store.fault = ("", "")
        renewed = fs.modified("/out/lease.json")
        wait_until(lambda: fs.modified("/out/lease.json") > renewed)
    assert not fs.exists("/out/lease.json")


class WebServer(MemoryFileSystem):
    """A file system that knows of a file what a web server says of it."""

    protocol = "web"
    said: ClassVar[dict[str, Any]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("web://")))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().info(path, **options)
        kept = {key: found[key] for key in ("name", "size", "type")}
        return {**kept, **self.said} if found["type"] == "file" else kept

    def find(self, path: str, *args: Any, detail: bool = False, **options: Any) -> Any:
        found = super().find(path, *args, detail=True, **options)
        sizeless = {name: {**info, "size": None} for name, info in found.items()}
        return sizeless if detail else sorted(found)


@pytest.fixture
def website() -> Iterator[WebServer]:
    """A web server with a file of texts."""
    fsspec.register_implementation("web", WebServer, clobber=True)
    fs = WebServer()
    fs.pipe_file("/site/in.txt", "\n".join(TEXTS).encode())
    WebServer.said = {}
    yield fs
    fs.rm("/site", recursive=True)


def test_annotate_object_stores_file_of_unknown_size_has_a_message(
    pipeline: Path, website: WebServer, output: Path
) -> None:
    WebServer.said = {"size": None}
    saying = "site/in.txt: its server does not say how many bytes it has"
    fails(pipeline, "web://site/in.txt", "-o", output, saying=saying)


def test_annotate_object_stores_listing_without_sizes_is_read(
    pipeline: Path, website: WebServer, output: Path
) -> None:
    code, words = annotate(pipeline, "web://site", "-o", output)
    assert code == 0, words
    assert len(rows(output)) == len(TEXTS)


@pytest.mark.parametrize("key", ["ETag", "Last-Modified"])
def test_annotate_object_stores_changed_file_of_a_web_server_is_told(
    website: WebServer, key: str
) -> None:
    WebServer.said = {key: '"686897696a7c876b7e"'}
    (file,) = find_inputs(["web://site/in.txt"], output="/nowhere")
    check_file_unchanged(file)
    WebServer.said = {key: '"0a1b2c3d4e5f"'}
    with pytest.raises(AnnotateError, match="was changed while it was annotated"):
        check_file_unchanged(file)
    WebServer.said = {}  # it may say so no more
    check_file_unchanged(file)
