"""A pipeline that decodes on a model server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

import spacy
from helpers import (
    DOC_SPANS,
    EMPTY,
    GOLD,
    TOO_LONG,
    found,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    swallow,
    trained,
)
from server_faults import Answer
from small_server import SmallServer
from spacy.language import Language

from spacy_padellm.analysis.collect import AnalysedDoc, collect_docs
from spacy_padellm.analysis.inputs import GoldDoc
from spacy_padellm.lm.loading import load_model


@pytest.fixture(scope="module")
def server() -> Iterator[SmallServer]:
    with SmallServer(load_model(str(model_folder()))) as server:
        yield server


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """The model's folder without its weights."""
    ignored = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(model_folder(), tmp_path / "model", ignore=ignored))


def served(server: SmallServer, folder: Path, **settings: Any) -> Language:
    decoder = {
        "@misc": "spacy-padellm.ServerDecoder.v1",
        "base_url": server.url,
        "max_retries": 0,
        **settings,
    }
    return make_nlp(model=named(folder), decoder=decoder, span_getter=DOC_SPANS)


def test_server_pipe_equals_the_model_in_this_process(
    server: SmallServer, tokenizer: Path
) -> None:
    expected = found(trained(span_getter=DOC_SPANS).pipe(GOLD))
    assert found(served(server, tokenizer).pipe(GOLD)) == expected
    assert sum(map(len, expected)) > 5


@pytest.mark.parametrize("batch_size", [2, 1000])
def test_server_pipe_cuts_a_text_among_others_that_does_not_fit(
    batch_size: int, server: SmallServer, tokenizer: Path
) -> None:
    nlp = served(server, tokenizer)
    texts = [*GOLD, TOO_LONG, EMPTY]
    docs = list(nlp.pipe(texts, batch_size=batch_size))
    assert [doc.text for doc in docs] == texts
    *first, long, empty = found(docs)
    assert first == found(nlp.pipe(GOLD))
    assert len(long) > max(map(len, first))
    assert not empty


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_server_pipe_gives_the_doc_that_the_server_fails_to_the_error_handler(
    batch_size: int, server: SmallServer, tokenizer: Path
) -> None:
    nlp = served(server, tokenizer)
    first, bad, *others = GOLD
    expected = found(nlp.pipe([first, *others]))

    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        said = map(server.lm.tokenizer.decode, body.get("prompt", []))
        return (500, {}, b"{}") if any(bad in text for text in said) else None

    errors: list[str] = []
    nlp.set_error_handler(swallow(errors))
    server.fault = fault
    docs = list(nlp.pipe(GOLD, batch_size=batch_size))
    server.fault = None
    assert errors == [bad]
    assert [doc.text for doc in docs] == [first, *others]
    assert found(docs) == expected


def test_server_pipe_gives_all_docs_to_the_error_handler_if_the_server_is_gone(
    server: SmallServer, tokenizer: Path
) -> None:
    nlp = served(server, tokenizer)
    errors: list[str] = []
    nlp.set_error_handler(swallow(errors))
    server.kill()
    docs = list(nlp.pipe(GOLD, batch_size=2))
    server.start()
    assert not docs
    assert errors == list(GOLD)


def test_server_pipe_is_saved_without_the_key(
    server: SmallServer,
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NER_KEY", "sk-secret-123")
    nlp = served(server, tokenizer, api_key_env="NER_KEY")
    expected = found(nlp.pipe(GOLD))
    nlp.to_disk(tmp_path / "nlp")
    files = [path for path in (tmp_path / "nlp").rglob("*") if path.is_file()]
    assert files
    assert not any(b"sk-secret-123" in path.read_bytes() for path in files)
    assert "api_key_env" in (tmp_path / "nlp" / "config.cfg").read_text()
    assert pipe_of(nlp).decoder.api_key_env == "NER_KEY"  # type: ignore[attr-defined]
    again = spacy.load(tmp_path / "nlp")
    assert found(again.pipe(GOLD)) == expected


def test_server_pipe_works_in_several_processes(
    server: SmallServer, tokenizer: Path
) -> None:
    nlp = served(server, tokenizer)
    expected = found(nlp.pipe(GOLD))
    assert found(nlp.pipe(GOLD, n_process=2, batch_size=2)) == expected
    assert found(nlp.pipe(GOLD)) == expected


def test_server_pipe_cuts_a_text_that_does_not_fit_the_server(
    server: SmallServer, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "context", 100)
    nlp = served(server, tokenizer)
    text = " ".join([*GOLD] * 8)
    windows = pipe_of(nlp).make_windows([nlp.make_doc(text)])
    assert len(windows) > 1
    assert "".join("".join(w.text for w in windows).split()) == "".join(text.split())
    (mentions,) = found([nlp(text)])
    assert len(mentions) > len(found([nlp(next(iter(GOLD)))])[0])


def test_server_pipe_is_analysed_in_the_windows_that_fit_the_server(
    server: SmallServer, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "context", 100)
    nlp = served(server, tokenizer)
    pipe = pipe_of(nlp)
    text = " ".join([*GOLD] * 8)
    (read,) = collect_docs(nlp, pipe, [GoldDoc(text, [])], labels=pipe.labels)
    assert isinstance(read, AnalysedDoc)
    windows = pipe.make_windows([nlp.make_doc(text)])
    assert [case.text for case in read.windows] == [w.text for w in windows]
    assert any(case.mentions for case in read.windows)


def test_server_pipe_asks_nothing_of_a_server_that_tells_no_context(
    server: SmallServer, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "context", None)
    nlp = served(server, tokenizer)
    text = " ".join([*GOLD] * 8)
    assert len(pipe_of(nlp).make_windows([nlp.make_doc(text)])) == 1
