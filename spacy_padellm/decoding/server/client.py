"""The connection to a model server: requests, retries, start and end.

Requests run on an event loop in a separate thread, so that a synchronous generator can
have many of them in progress.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from spacy_padellm.decoding.server.answers import (
    ASK_FOR_IDS,
    Answer,
    MalformedAnswer,
    UnusableAnswer,
    read_answers,
)
from spacy_padellm.decoding.server.secrets import DEFAULT_KEY, check_secrets
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.tokens import PromptTokens

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds until a malformed answer's retry

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a connection; see `ServerDecoder`."""

    base_url: str
    model: str | None
    api_key_env: str
    max_concurrency: int
    max_retries: int
    timeout: float

    @property
    def root(self) -> str:
        """The address without `/v1`, for endpoints that OpenAI's API does not have."""
        return self.base_url.rstrip("/").removesuffix("/v1")


def check_url(url: str) -> None:
    """Check a base URL, which is saved with the pipeline.

    RAISES (ValueError): If it is not valid, or contains a user name, password or query.
    """
    parts = urlsplit(url)
    secret = parts.username is not None or parts.query or parts.fragment
    complete = parts.scheme in ("http", "https") and parts.hostname
    if not complete or secret or url != url.strip():
        shown = f"{parts.scheme}://{parts.hostname}{parts.path}"
        raise ValueError(Errors.P171.format(url=shown))


class Connection:
    """A client of one server, with an event loop. It cannot be used after a fork."""

    def __init__(self, settings: ServerSettings) -> None:
        """Start the event loop, without sending a request.

        RAISES (ValueError): If the package openai or the API key is missing, or the
            key contains characters that are not allowed, or may not be sent to the
            server.
        """
        self.settings = settings
        self.pid = os.getpid()
        self._key = _read_key(settings.api_key_env)
        self._client = _make_client(settings, self._key)
        check_secrets(self._client.base_url, settings.api_key_env)
        self.slots = asyncio.Semaphore(settings.max_concurrency)
        self._loop = asyncio.new_event_loop()
        name = "spacy-padellm-server"
        thread = threading.Thread(
            target=_run, args=(self._loop,), name=name, daemon=True
        )
        thread.start()
        weakref.finalize(self, _close, self._loop, thread, self._client, self.pid)

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start a coroutine on the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def complete(
        self,
        model: str,
        prompts: Sequence[Sequence[int]],
        *,
        prompt: PromptTokens,
        max_tokens: int,
        stop: Sequence[int] = (),
    ) -> list[Answer]:
        """Continue prompts by greedy decoding.

        model (str): The model's name.
        prompts (Sequence[Sequence[int]]): Their tokens.
        prompt (PromptTokens): The prompt in use.
        max_tokens (int): Tokens to generate at most.
        stop (Sequence[int]): Tokens that end an answer, in addition to `<eos>`.
        RETURNS (list[Answer]): In the order of the prompts.
        RAISES (ConnectionError): If the server does not answer, or violates the
            protocol.
        RAISES (ValueError): If it refuses the request, or does not return token ids and
            log-probabilities.
        """
        body = {
            "model": model,
            "prompt": [list(ids) for ids in prompts],
            "max_tokens": max_tokens,
            "temperature": 0,
            "repetition_penalty": 1.0,  # a model's defaults may differ
            "logprobs": 1,
            "stop_token_ids": sorted({prompt.eos, *stop}),
            **ASK_FOR_IDS,
        }

        def read(answer: object) -> list[Answer]:
            return read_answers(
                answer,
                prompts=len(prompts),
                max_tokens=max_tokens,
                decode=prompt.strings.decode,
            )

        return await self.request("post", "/completions", read, body=body)

    # Requests

    async def request(
        self,
        method: str,
        path: str,
        read: Callable[[object], Result],
        *,
        body: dict[str, Any] | None = None,
    ) -> Result:
        """Send a request and parse its answer.

        The openai client repeats the request if the server cannot be reached, exceeds
        the timeout or reports a temporary problem (408, 409, 429, 5xx). This method
        repeats it if the answer is malformed.
        """
        import openai

        send = getattr(self._client, method)
        options = {} if body is None else {"body": body}
        url, tries = self.settings.base_url, self.settings.max_retries + 1
        for attempt in range(tries):
            try:
                return read(await send(path, cast_to=object, **options))
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                raise self._unreachable(error) from None
            except openai.APIStatusError as error:
                if error.status_code in (408, 409, 429):
                    raise self._unreachable(error) from None
                message = Errors.P174.format(url=url, error=self._plain(error))
                refused = Refused(message)
                refused.status = error.status_code
                raise refused from None
            except UnusableAnswer as error:
                raise ValueError(Errors.P177.format(url=url, found=error)) from None
            except (MalformedAnswer, ValueError, openai.OpenAIError) as error:
                # a ValueError means invalid JSON
                reason = self._plain(error)
            if attempt + 1 < tries:
                await asyncio.sleep(min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT))
        raise ConnectionError(Errors.P175.format(url=url, tries=tries, reason=reason))

    def _unreachable(self, error: Exception) -> ConnectionError:
        message = Errors.P173.format(
            url=self.settings.base_url,
            tries=self.settings.max_retries + 1,
            error=self._plain(error),
        )
        return ConnectionError(message)

    def _plain(self, error: Exception) -> str:
        """The message of an error, without the API key that a server may echo."""
        # the client's message is only "Connection error."
        cause = error.__cause__ or error
        text = str(cause) or type(cause).__name__
        return text.replace(self._key, "***") if self._key else text


class Refused(ValueError):
    """A request that the server refused, with the HTTP status."""

    status: int = 0


# Starting and ending


def _read_key(variable: str) -> str:
    """Read the API key; empty if none is needed.

    RAISES (ValueError): If a variable other than the default is not set, or if the key
        contains characters that are not allowed.
    """
    key = os.environ.get(variable, "").strip()  # e.g. the line break of a file
    if not (key.isascii() and key.isprintable()):
        raise ValueError(Errors.P181.format(variable=variable))
    if not key and variable != DEFAULT_KEY:
        raise ValueError(Errors.P172.format(variable=variable))
    return key


def _make_client(settings: ServerSettings, key: str) -> Any:
    try:
        import openai
    except ImportError as error:
        raise ValueError(Errors.P170) from error
    return openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key=key or "EMPTY",  # the client requires one
        timeout=settings.timeout,
        max_retries=settings.max_retries,
    )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


def _close(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: Any, pid: int
) -> None:
    """Cancel the requests in progress, close the sockets and end the thread."""
    if os.getpid() != pid:
        return  # a forked process has its parent's sockets, but not the thread

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)
    if threading.current_thread() is not thread:
        thread.join(timeout=5)
