"""The connection to a model server: requests, retries, start and end.

Requests run on an event loop in a separate thread, so that a synchronous generator can
have many of them in progress.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from spacy_padellm.decoding.server.answers import (
    ASK_FOR_IDS,
    Answer,
    CompletionRequest,
    MalformedAnswer,
    OtherModel,
    UnusableAnswer,
    read_answers,
)
from spacy_padellm.decoding.server.bounded import make_http_client, most_bytes
from spacy_padellm.decoding.server.secrets import DEFAULT_KEY, check_secrets
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.proxies import proxy_note

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds until a retry
_LONGEST_ASKED = 60.0  # seconds until a retry that a server may ask for
_PASSING = (408, 409, 429)  # statuses of temporary problems, besides 5xx
_QUICK = 1.0  # seconds; a failed probe that took longer is not repeated at once
# bytes of an answer: at least, for each token generated, and for each of a prompt
_BYTES, _BYTES_GENERATED, _BYTES_PROMPT = 1 << 22, 1 << 10, 1 << 4
_MESSAGE = 500  # characters of a server's words in an error message

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
    if not _is_address(url) or url != url.strip():
        # without what may be secret
        shown = re.sub(r"[?#].*", "", re.sub(r"//.*@", "//", url), flags=re.DOTALL)
        raise ValueError(Errors.P171.format(url=shown))


def _is_address(url: str) -> bool:
    """Whether it has a scheme, a host, a right port if any, and no secret."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname
        secret = parts.username is not None or parts.query or parts.fragment
        return bool(complete and not secret and parts.port != 0)
    except ValueError:
        return False  # a port that is no number, or brackets without an address


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
        # the client has read the environment
        self._proxy = proxy_note(settings.base_url)
        check_secrets(self._client.base_url, settings.api_key_env)
        # a text was given up because the server cannot be reached
        self._given_up = False
        self._probe: asyncio.Task[str | None] | None = None
        self._probe_again = 0.0  # not before this time of the loop
        # a request that the server has answered before, if there is one
        self._known: tuple[str, str, dict[str, Any] | None] = ("get", "/models", None)
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
        models: Collection[str],
        prompt: PromptTokens,
        max_tokens: int,
        stop: Sequence[int] = (),
    ) -> list[Answer]:
        """Continue prompts by greedy decoding.

        model (str): The model's name.
        prompts (Sequence[Sequence[int]]): Their tokens.
        models (Collection[str]): The names that an answer may give to the model.
        prompt (PromptTokens): The prompt in use.
        max_tokens (int): Tokens to generate at most.
        stop (Sequence[int]): Tokens that end an answer, in addition to `<eos>`.
        RETURNS (list[Answer]): In the order of the prompts.
        RAISES (ConnectionError): If the server does not answer, or violates the
            protocol.
        RAISES (ValueError): If it refuses the request, does not return token ids and
            log-probabilities, or another model answers.
        """
        request = CompletionRequest(
            prompts=[list(ids) for ids in prompts],
            max_tokens=max_tokens,
            models=models,
            vocabulary=prompt.strings.size,
            decode=prompt.strings.decode,
        )
        body = {
            "model": model,
            "prompt": request.prompts,
            "max_tokens": max_tokens,
            "temperature": 0,
            "repetition_penalty": 1.0,  # a model's defaults may differ
            "logprobs": 1,
            "stop_token_ids": sorted({prompt.eos, *stop}),
            **ASK_FOR_IDS,
        }

        size = (
            _BYTES
            + _BYTES_GENERATED * max_tokens * len(prompts)
            + _BYTES_PROMPT * sum(map(len, prompts))
        )
        answers = await self.request(
            "post",
            "/completions",
            lambda answer: read_answers(answer, request),
            body=body,
            size=size,
        )
        if self._known[0] == "get":
            self._known = ("post", "/completions", body)
        return answers

    # Requests

    async def request(
        self,
        method: str,
        path: str,
        read: Callable[[object], Result],
        *,
        body: dict[str, Any] | None = None,
        size: int = _BYTES,
    ) -> Result:
        """Send a request and parse its answer.

        The request is repeated if the server cannot be reached, exceeds the timeout,
        reports a temporary problem (408, 409, 429, 5xx) or gives a malformed answer. If
        the server could not be reached for an earlier request in all its tries, it is
        first asked once whether it is there again.

        method (str): "get" or "post".
        path (str): The path below the base URL, or a whole URL of the server.
        read (Callable[[object], Result]): Parses the JSON of the answer.
        body (dict[str, Any] | None): The JSON of the request.
        size (int): The most bytes of the answer.
        RAISES (ConnectionError): If the server does not answer, or violates the
            protocol.
        RAISES (ValueError): If it refuses the request (`Refused`), or returns what the
            decoder cannot use.
        """
        if self._given_up:
            await self._reach()
        url, tries = self.settings.base_url, self.settings.max_retries + 1
        for attempt in range(tries):
            wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
            wait *= 1 - random.random() / 4  # not all texts at the same time
            template = Errors.P175
            try:
                return read(await self._send(method, path, body, size=size))
            except Refused:
                raise
            except _NoAnswer as error:
                template, reason = Errors.P173, str(error)
                wait = error.wait or wait
            except UnusableAnswer as error:
                raise ValueError(Errors.P177.format(url=url, found=error)) from None
            except OtherModel as error:
                message = Errors.P183.format(url=url, found=self.plain(str(error)))
                raise ValueError(message) from None
            except (MalformedAnswer, ValueError, RecursionError) as error:
                reason = self.plain(str(error))
            if attempt + 1 < tries:
                await asyncio.sleep(wait)
        self._given_up = self._given_up or template == Errors.P173
        message = template.format(url=url, tries=tries, error=reason)
        raise ConnectionError(message + self._proxy)

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, *, size: int
    ) -> object:
        """Send a request once; gives the JSON of the answer.

        RAISES (_NoAnswer): If the server cannot be reached, exceeds the timeout or
            reports a temporary problem.
        RAISES (Refused): If it refuses the request, or sends it elsewhere.
        RAISES (MalformedAnswer): If the answer is no JSON, or may not be read.
        """
        import openai

        most_bytes.set(size)
        options = {} if body is None else {"body": body}
        answer = getattr(self._client, method)(path, cast_to=object, **options)
        timeout = self.settings.timeout
        try:
            # for the whole answer; the client's timeouts start again with each byte
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            reason = f"Timeout, no complete answer within {timeout:g} seconds"
            raise _NoAnswer(reason) from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, MalformedAnswer):
                raise error.__cause__ from None  # openai 1 wraps all errors
            raise _NoAnswer(self._words(error)) from None
        except openai.APIStatusError as error:
            status, headers = error.status_code, error.response.headers
            if status >= 500 or status in _PASSING:
                wait = _wait_asked(headers)
                raise _NoAnswer(self._words(error), wait=wait) from None
            raise self._refused(error) from None
        except RecursionError:
            raise MalformedAnswer("its JSON is nested too deeply") from None
        except (ValueError, openai.OpenAIError) as error:
            # a ValueError means invalid JSON
            raise MalformedAnswer(self._words(error)) from None

    def _refused(self, error: Any) -> Refused:
        """The error for a status of which a repeated request makes no other."""
        url, status = self.settings.base_url, error.status_code
        location = error.response.headers.get("Location")
        if 300 <= status < 400 and location:
            other = self.plain(location)
            message = Errors.P184.format(url=url, status=status, other=other)
        else:
            message = Errors.P174.format(url=url, error=self._words(error))
        refused = Refused(message + self._proxy)
        refused.status = status
        return refused

    async def _reach(self) -> None:
        """Ask, once for all texts, whether the server can be reached again.

        RAISES (ConnectionError): If it cannot.
        """
        now = asyncio.get_running_loop().time()
        if self._probe is None or (self._probe.done() and now >= self._probe_again):
            self._probe = asyncio.ensure_future(self._ask_once())
        # a text that is cancelled must not cancel the probe of the others
        reason = await asyncio.shield(self._probe)
        if reason is not None:
            url = self.settings.base_url
            message = Errors.P185.format(url=url, error=reason)
            raise ConnectionError(message + self._proxy)

    async def _ask_once(self) -> str | None:
        """Send a known request once; gives the reason if there is no answer."""
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            await self._send(*self._known, size=_BYTES)
        except _NoAnswer as error:
            now = clock()
            self._probe_again = now + (now - start if now - start > _QUICK else 0)
            return str(error)
        except (Refused, MalformedAnswer):
            pass  # also an answer
        self._given_up = False
        return None

    # Messages

    def plain(self, words: str) -> str:
        """Words of a server for a message: without the API key, and shortened."""
        if self._key:
            words = words.replace(self._key, "***")
        return "".join(char if char.isprintable() else " " for char in words[:_MESSAGE])

    def _words(self, error: Exception) -> str:
        # the client's message is only "Connection error."
        cause = error.__cause__ or error
        return self.plain(str(cause) or type(cause).__name__)


class Refused(ValueError):
    """A request that the server refused, with the HTTP status."""

    status: int = 0


class _NoAnswer(Exception):
    """The server cannot be reached, or has a temporary problem.

    wait (float | None): The seconds after which it asks to repeat the request.
    """

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _wait_asked(headers: Mapping[str, str]) -> float | None:
    """The seconds of the header Retry-After; None if it asks for too many."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= _LONGEST_ASKED else None


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
        timeout=None,
        max_retries=0,  # `Connection` repeats requests, and limits their time
        http_client=make_http_client(),
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
