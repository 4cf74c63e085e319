"""The connection to a model server: requests and retries.

Requests run on an event loop in a separate thread, so that a synchronous generator can
have many of them in progress.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from spacy_padellm.decoding.server.answers import (
    ASK_FOR_IDS,
    Answer,
    CompletionRequest,
    MalformedAnswer,
    OtherModel,
    UnusableAnswer,
    read_answers,
)
from spacy_padellm.decoding.server.loop_thread import LoopThread
from spacy_padellm.decoding.server.settings import ServerSettings
from spacy_padellm.decoding.server.transport import NoAnswer, Refused, Transport
from spacy_padellm.errors import Errors
from spacy_padellm.prompt.tokens import PromptTokens

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds until a retry
_QUICK = 1.0  # seconds; a failed probe that took longer is not repeated at once
# bytes of an answer: at least, for each token generated, and for each of a prompt
_BYTES, _BYTES_GENERATED, _BYTES_PROMPT = 1 << 22, 1 << 10, 1 << 4

T = TypeVar("T")


class Connection:
    """A client of one server, with an event loop. It cannot be used after a fork."""

    def __init__(self, settings: ServerSettings) -> None:
        """Start the event loop, without sending a request.

        settings (ServerSettings): The settings.
        RAISES (ValueError): If the package openai or the API key is missing, or the key
            contains characters that are not allowed, or may not be sent to the server.
        """
        self.settings = settings
        self._transport = Transport(settings)
        # a text was given up because the server cannot be reached
        self._given_up = False
        self._probe: asyncio.Task[str | None] | None = None
        self._probe_again = 0.0  # not before this time of the loop
        # a request that the server has answered before, if there is one
        self._known: tuple[str, str, dict[str, Any] | None] = ("get", "/models", None)
        self.slots = asyncio.Semaphore(settings.max_concurrency)
        self._thread = LoopThread("spacy-padellm-server", self._transport.close)

    @property
    def pid(self) -> int:
        """The process that can use the connection."""
        return self._thread.pid

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the event loop.

        work (Coroutine): The coroutine.
        RETURNS (Future): Its result.
        """
        return self._thread.submit(work)

    def plain(self, words: str) -> str:
        """See `Transport.plain`."""
        return self._transport.plain(words)

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
        read: Callable[[object], T],
        *,
        body: dict[str, Any] | None = None,
        size: int = _BYTES,
    ) -> T:
        """Send a request and parse its answer.

        The request is repeated if the server cannot be reached, exceeds the timeout,
        reports a temporary problem (408, 409, 429, 5xx) or gives a malformed answer. If
        the server could not be reached for an earlier request in all its tries, it is
        first asked once whether it is there again.

        method (str): "get" or "post".
        path (str): The path below the base URL, or a whole URL of the server.
        read (Callable[[object], T]): Parses the JSON of the answer.
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
            answered = True
            try:
                return read(await self._transport.send(method, path, body, size=size))
            except Refused:
                raise
            except NoAnswer as error:
                answered, reason = False, str(error)
                wait = error.wait or wait
            except UnusableAnswer as error:
                message = Errors.P177.format(url=url, found=error)
                raise ValueError(message + self._transport.proxy_note) from None
            except OtherModel as error:
                message = Errors.P183.format(url=url, found=self.plain(str(error)))
                raise ValueError(message + self._transport.proxy_note) from None
            except (MalformedAnswer, ValueError, RecursionError) as error:
                reason = self.plain(str(error))
            if attempt + 1 < tries:
                await asyncio.sleep(wait)
        self._given_up = self._given_up or not answered
        template = Errors.P175 if answered else Errors.P173
        message = template.format(url=url, tries=tries, error=reason)
        raise ConnectionError(message + self._transport.proxy_note)

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
            raise ConnectionError(message + self._transport.proxy_note)

    async def _ask_once(self) -> str | None:
        """Send a known request once; gives the reason if there is no answer."""
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            await self._transport.send(*self._known, size=_BYTES)
        except NoAnswer as error:
            now = clock()
            self._probe_again = now + (now - start if now - start > _QUICK else 0)
            return str(error)
        except (Refused, MalformedAnswer):
            pass  # also an answer
        self._given_up = False
        return None
