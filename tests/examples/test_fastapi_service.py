"""Tests of `examples/fastapi_service.py`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

PATH = Path(__file__).parents[2] / "examples" / "fastapi_service.py"
CLIENTS = 200
WAIT_SECONDS = 60  # before a test gives up


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fastapi_service", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks types up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("NER_MODEL", "bundled-en-sm")
    return load_example()


def serve(
    service: ModuleType, ask: Callable[[Any], Coroutine[Any, Any, Any]], **kwargs: Any
) -> Any:
    """Start the service, let clients ask it, and stop it."""

    async def run() -> Any:
        app = service.create_app(kwargs.get("load", service.load))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://ner") as client,
        ):
            client.app = app
            return await ask(client)

    return asyncio.run(run())


def test_fastapi_service_answers_each_of_many_clients(service: ModuleType) -> None:
    places = ["Berlin", "Paris", "Oslo", "London"]

    async def ask(client: Any) -> Any:
        async def one(number: int) -> Any:
            text = f"{number} people met in {places[number % 4]}."
            answer = await client.post("/entities", json={"texts": [text]})
            return answer.json()["results"][0]["entities"]

        found = await asyncio.gather(*map(one, range(CLIENTS)))
        return found, client.app.state.batcher.batches

    found, batches = serve(service, ask)
    expected = [[(places[n % 4], "LOC")] for n in range(CLIENTS)]
    assert [[(e["text"], e["label"]) for e in ents] for ents in found] == expected
    assert batches < 20


def test_fastapi_service_keeps_the_order_of_texts(service: ModuleType) -> None:
    # half of a surrogate pair is no character, but JSON can hold it
    body = '{"texts": ["Berlin is large.", "", "\\ud83d people live in Oslo."]}'
    kind = {"content-type": "application/json"}

    async def ask(client: Any) -> Any:
        answer = await client.post("/entities", content=body, headers=kind)
        return answer.json()["results"]

    results = serve(service, ask)
    found = [[(e["text"], e["start"]) for e in r["entities"]] for r in results]
    assert found == [[("Berlin", 0)], [], [("Oslo", 17)]]


def test_fastapi_service_is_healthy_once_it_is_loaded(service: ModuleType) -> None:
    async def ask(client: Any) -> Any:
        return (await client.get("/health")).json()

    assert serve(service, ask) == {"status": "ok", "waiting": 0}


def test_fastapi_service_refuses_requests_that_are_too_large(
    service: ModuleType,
) -> None:
    async def stream() -> Any:
        for _ in range(6):
            yield b" " * 1024 * 1024

    bodies: list[dict[str, Any]] = [
        {"json": {"texts": []}},
        {"json": {"texts": ["a"] * (service.MAX_TEXTS + 1)}},
        {"json": {"texts": ["a" * (service.MAX_CHARACTERS + 1)]}},
        {"json": {"words": ["a"]}},
        {"content": b" " * (service.MAX_BODY + 1)},
        {"content": stream()},
    ]

    async def ask(client: Any) -> Any:
        return [(await client.post("/entities", **b)).status_code for b in bodies]

    assert serve(service, ask) == [422, 422, 422, 422, 413, 413]


def test_fastapi_service_refuses_a_text_that_blocks_the_tokenizer(
    service: ModuleType,
) -> None:
    texts = ["Berlin is large.", "Bob " + "(" * (service.MAX_WORD + 1)]

    async def ask(client: Any) -> Any:
        return await client.post("/entities", json={"texts": texts})

    answer = serve(service, ask, load=lambda: spacy.blank("en"))
    reason = f"the text has {service.MAX_WORD + 1} characters without a blank"
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "texts", 1]
    assert problem["msg"].startswith(reason)


def test_fastapi_service_takes_long_texts_of_a_language_without_blanks(
    service: ModuleType,
) -> None:
    async def ask(client: Any) -> Any:
        text = "长" * (service.MAX_WORD + 1)
        return await client.post("/entities", json={"texts": [text]})

    answer = serve(service, ask, load=lambda: spacy.blank("zh"))
    assert answer.json() == {"results": [{"entities": []}]}


def test_fastapi_service_refuses_more_texts_than_can_wait(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_WAITING", 10)

    async def ask(client: Any) -> Any:
        requests = [
            client.post("/entities", json={"texts": ["Oslo."]}) for _ in range(50)
        ]
        return await asyncio.gather(*requests)

    answers = serve(service, ask)
    assert {answer.status_code for answer in answers} == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"


def test_fastapi_service_answers_texts_beside_one_that_fails(
    service: ModuleType,
) -> None:
    def load() -> Any:
        nlp = service.load()
        ner = nlp.get_pipe("padellm_ner")
        cut = ner.span_getter

        def fails(docs: Any) -> Any:
            if any("bad" in doc.text for doc in docs):
                raise ValueError("a bad text")
            return cut(docs)

        ner.span_getter = fails
        return nlp

    async def ask(client: Any) -> Any:
        texts = ["Berlin is large.", "A bad text."]
        answer = await client.post("/entities", json={"texts": texts})
        return answer.json()["results"]

    good, bad = serve(service, ask, load=load)
    assert [ent["text"] for ent in good["entities"]] == ["Berlin"]
    assert "error" in bad


class Panic(BaseException):
    """As pyo3's PanicException, which tokenizers written in Rust raise."""


@pytest.mark.parametrize("error", [KeyError, Panic])
def test_fastapi_service_goes_on_after_a_batch_that_fails(
    service: ModuleType, error: type[BaseException]
) -> None:
    def load() -> Any:
        nlp = service.load()
        tokenizer = nlp.tokenizer

        def fails(text: str) -> Any:  # spaCy hands this error to no error handler
            if "bad" in text:
                raise error("a bad text")
            return tokenizer(text)

        nlp.tokenizer = fails
        return nlp

    async def ask(client: Any) -> Any:
        bodies = [{"texts": ["A bad text."]}, {"texts": ["Berlin is large."]}]
        answers = [await client.post("/entities", json=body) for body in bodies]
        return [answer.json()["results"][0] for answer in answers]

    bad, good = serve(service, ask, load=load)
    assert "error" in bad
    assert [ent["text"] for ent in good["entities"]] == ["Berlin"]


def test_fastapi_service_refuses_texts_that_wait_when_its_worker_stops(
    service: ModuleType,
) -> None:
    async def ask(client: Any) -> Any:
        batcher = client.app.state.batcher
        posts = [
            asyncio.create_task(client.post("/entities", json={"texts": [text]}))
            for text in ("Anna met Bob.", "Oslo is large.")
        ]
        while not batcher.waiting:
            await asyncio.sleep(0)
        batcher.worker.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*posts), WAIT_SECONDS)
        return [*answers, await client.get("/health")]

    answers = serve(service, ask, load=lambda: spacy.blank("en"))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["detail"] for answer in answers} == {service.STOPPED}


def test_fastapi_service_keeps_no_words_of_its_texts(service: ModuleType) -> None:
    nlp = spacy.blank("en")
    service.find_entities(nlp, ["The first text fills what is kept."])
    kept = len(list(nlp.vocab)), len(nlp.vocab.strings)
    service.find_entities(nlp, [f"Word{number} is new." for number in range(20)])
    assert (len(list(nlp.vocab)), len(nlp.vocab.strings)) == kept


def test_fastapi_service_drops_the_texts_of_a_client_that_went_away(
    service: ModuleType,
) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    release = threading.Event()
    seen: list[str] = []

    @Language.component("waits_for_the_test")
    def wait(doc: Doc) -> Doc:
        seen.append(doc.text)
        release.wait(WAIT_SECONDS)
        return doc

    def load() -> Language:
        nlp = spacy.blank("en")
        nlp.add_pipe("waits_for_the_test")
        return nlp

    async def post(port: int, texts: list[str]) -> tuple[Any, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"texts": texts}).encode()
        head = f"POST /entities HTTP/1.1\r\nHost: ner\r\nContent-Length: {len(body)}"
        kind = "Content-Type: application/json\r\nConnection: close"
        writer.write(f"{head}\r\n{kind}\r\n\r\n".encode() + body)
        await writer.drain()
        return reader, writer

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def run() -> bytes:
        app = service.create_app(load)
        config = uvicorn.Config(app, port=0, ws="none", log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await post(port, ["first"])
        await until(lambda: seen == ["first"])
        _, leaving = await post(port, ["second", "third"])
        await until(lambda: app.state.batcher.waiting == 2)
        leaving.close()
        try:
            await until(lambda: app.state.batcher.waiting == 0)
        finally:
            release.set()
            answer = await reader.read()
            writer.close()
            server.should_exit = True
            await serving
        return bytes(answer)

    answer = asyncio.run(asyncio.wait_for(run(), WAIT_SECONDS))
    assert b'{"results":[{"entities":[]}]}' in answer
    assert seen == ["first"]


@pytest.mark.parametrize(
    "body",
    [
        '{"texts": [NaN]}',
        '{"texts": [-Infinity, 1e999]}',
        '{"texts": {"\\ud800": 1}}',
        '{"text\\ud800": "\\ud800"}',
        '"\\ud800"',
    ],
)
def test_fastapi_service_refuses_values_that_no_answer_can_hold(
    service: ModuleType, body: str
) -> None:
    async def ask(client: Any) -> Any:
        kind = {"content-type": "application/json"}
        return await client.post("/entities", content=body, headers=kind)

    answer = serve(service, ask, load=lambda: None)
    assert answer.status_code == 422
    assert "detail" in answer.json()


def test_fastapi_service_tells_why_it_does_not_start(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_MODEL", "no-such-model")

    async def ask(client: Any) -> Any:
        raise AssertionError

    with pytest.raises(OSError, match="no-such-model"):
        serve(service, ask)
