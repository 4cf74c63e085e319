"""A service that annotates texts over HTTP.

    pip install 'spacy-padellm[examples]'
    NER_MODEL=bundled-en uvicorn fastapi_service:app --port 8000
    curl localhost:8000/entities --json '{"texts": ["Anna met Angela Merkel in Oslo."]}'

Texts of requests that arrive at the same time are decoded together, since many texts
in one batch take much less time than one after the other. NER_MODEL is a bundled model,
a pipeline's folder or a package. Run one process for each GPU or CPU; put what every
public service needs (TLS, logins, limits by client) in front of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field
from spacy.language import Language
from spacy.tokens import Span

from spacy_padellm.pipeline.bundled import load_pipeline
from spacy_padellm.text.tokenizing import text_problem

MAX_TEXTS = 64  # of a request
MAX_CHARACTERS = 20_000  # of a text
MAX_WORD = 1_000  # characters without a blank, if they would take spaCy long to split
MAX_BODY = 4 * 1024 * 1024  # bytes of a request
MAX_WAITING = 2_000  # texts; more are refused until some are done
MAX_BATCH = 256  # texts that are decoded together
CHECK_SECONDS = 0.5  # between two looks at whether a client is still there
FAILED = {"error": "The text could not be annotated; see the log."}
STOPPED = "The worker has stopped; restart the service."

logger = logging.getLogger("ner_service")


def mend(text: Any) -> Any:
    """Replace halves of surrogate pairs: JSON can hold them, but UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(mend), Field(max_length=MAX_CHARACTERS)]


class Request(BaseModel):
    """The body of a request."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]


class Batcher:
    """Collects texts of many requests, and annotates them in batches."""

    def __init__(self, load: Callable[[], Language]) -> None:
        self._load = load
        self._waiting: list[tuple[str, asyncio.Future[dict[str, Any]]]] = []
        self._arrived = asyncio.Event()
        self.batches = 0
        self.ready = asyncio.Event()
        self.worker = asyncio.create_task(self._work())

    @property
    def waiting(self) -> int:
        """The number of texts that nothing has been done for yet."""
        return len(self._waiting)

    def check_alive(self) -> None:
        """Refuse a request that the worker will never answer."""
        if self.worker.done():
            raise HTTPException(503, STOPPED)

    def check(self, texts: list[str]) -> None:
        """Refuse texts that would keep the tokenizer, and so all clients, for long."""
        errors = [
            {"loc": ("body", "texts", number), "msg": problem}
            for number, text in enumerate(texts)
            if (problem := text_problem(self.nlp, text, longest_word=MAX_WORD))
        ]
        if errors:
            raise RequestValidationError(errors)

    async def annotate(
        self, texts: list[str], http: HttpRequest
    ) -> list[dict[str, Any]]:
        """Annotate the texts of a request, with those of others."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in texts]
        self._waiting += zip(texts, futures, strict=True)
        self._arrived.set()
        try:
            while (await asyncio.wait(futures, timeout=CHECK_SECONDS))[1]:
                self.check_alive()
                # FastAPI itself goes on when a client has gone away
                if await http.is_disconnected():
                    raise HTTPException(499, "The client has gone away.")
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    async def _work(self) -> None:
        """Load the pipeline, then annotate whatever waits, until it is cancelled."""
        self.nlp = await asyncio.to_thread(self._load)
        self.ready.set()
        while True:
            await self._arrived.wait()
            batch = self._waiting[:MAX_BATCH]
            del self._waiting[:MAX_BATCH]
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                continue
            texts = [text for text, _ in batch]
            try:
                results = await asyncio.to_thread(find_entities, self.nlp, texts)
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            # of spaCy itself, or a panic of Rust, which is no Exception: the next batch
            # may do without it
            except BaseException:
                logger.exception("A batch of %d text(s) failed", len(texts))
                results = [FAILED] * len(texts)
            self.batches += 1
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def find_entities(nlp: Language, texts: list[str]) -> list[dict[str, Any]]:
    """Annotate texts; one that fails has an error in the place of its entities."""
    results: list[dict[str, Any]] = [FAILED] * len(texts)
    numbered = ((text, number) for number, text in enumerate(texts))
    # words that these texts add to the vocabulary are freed at the end
    with nlp.memory_zone():
        for doc, number in nlp.pipe(numbered, as_tuples=True, batch_size=MAX_BATCH):
            results[number] = {"entities": [as_json(ent) for ent in doc.ents]}
    return results


def as_json(ent: Span) -> dict[str, Any]:
    """An entity as it is answered."""
    return {
        "start": ent.start_char,
        "end": ent.end_char,
        "label": ent.label_,
        "text": ent.text,
        "score": ent._.padellm_score,
    }


class BodyLimit:
    """Refuses requests with more bytes than `MAX_BODY`, announced or not."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_BODY:
            answer = JSONResponse({"detail": "The request is too large."}, 413)
            await answer(scope, receive, send)
            return
        size = 0

        async def limited() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise HTTPException(413, "The request is too large.")
            return message

        await self.app(scope, limited, send)


def create_app(load: Callable[[], Language]) -> FastAPI:
    """Make the service.

    load (Callable[[], Language]): Loads the pipeline, in a thread.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = app.state.batcher = Batcher(load)
        waiting = asyncio.create_task(batcher.ready.wait())
        await asyncio.wait(
            [batcher.worker, waiting], return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        if batcher.worker.done():
            batcher.worker.result()  # raises the error of loading
        yield
        batcher.worker.cancel()
        with suppress(asyncio.CancelledError):
            await batcher.worker

    app = FastAPI(title="Named entities", lifespan=lifespan)
    app.add_middleware(BodyLimit)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Any, error: RequestValidationError) -> JSONResponse:
        # without the input, which may be long, or NaN, which JSON does not have
        detail = [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    @app.post("/entities")
    async def entities(request: Request, http: HttpRequest) -> dict[str, Any]:
        batcher = app.state.batcher
        batcher.check_alive()
        if batcher.waiting + len(request.texts) > MAX_WAITING:
            raise HTTPException(503, "Too busy.", headers={"Retry-After": "1"})
        batcher.check(request.texts)
        return {"results": await batcher.annotate(request.texts, http)}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        app.state.batcher.check_alive()
        return {"status": "ok", "waiting": app.state.batcher.waiting}

    return app


def load() -> Language:
    """Load the pipeline that NER_MODEL names, with its weights."""
    nlp = load_pipeline(os.environ.get("NER_MODEL", "bundled-en"))

    def tell(name: str, proc: Any, docs: list[Any], error: Exception) -> None:
        logger.error("%s failed for %d text(s): %s", name, len(docs), error)

    nlp.set_error_handler(tell)
    nlp("The first text loads the model .")
    return nlp


app = create_app(load)
