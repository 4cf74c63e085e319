"""Sends a request to a model server once, by the openai package."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from spacy_padellm.decoding.server.answers import MalformedAnswer
from spacy_padellm.decoding.server.bounded import make_http_client, most_bytes
from spacy_padellm.decoding.server.secrets import (
    check_secrets,
    find_secrets,
    hide,
    read_key,
)
from spacy_padellm.decoding.server.settings import ServerSettings
from spacy_padellm.errors import Errors
from spacy_padellm.proxies import proxy_note

_LONGEST_RETRY_AFTER = 60.0  # seconds until a retry that a server may ask for
_PASSING = (408, 409, 429)  # statuses of temporary problems, besides 5xx
_MESSAGE = 500  # characters of a server's words in an error message


class Transport:
    """The client of one server, with its API key."""

    def __init__(self, settings: ServerSettings) -> None:
        """Make the client, without sending a request.

        settings (ServerSettings): The settings.
        RAISES (ValueError): If the package openai or the API key is missing, or the
            key contains characters that are not allowed, or may not be sent to the
            server, or if the address, a proxy or certificates cannot be used.
        """
        self._url = settings.base_url
        self._timeout = settings.timeout
        key = read_key(settings.api_key_env)
        self._secrets = find_secrets(settings.api_key_env)
        self._client = _make_client(settings, key, self._secrets)
        # the client has read the environment
        self.proxy_note = note = proxy_note(settings.base_url)
        variable = settings.api_key_env
        check_secrets(self._client.base_url, variable, proxy_note=note)

    async def close(self) -> None:
        """Close the sockets."""
        await self._client.close()

    async def send(
        self, method: str, path: str, body: dict[str, Any] | None, *, size: int
    ) -> object:
        """Send a request once.

        method (str): "get" or "post".
        path (str): The path below the base URL, or a whole URL of the server.
        body (dict[str, Any] | None): The JSON of the request.
        size (int): The most bytes of the answer.
        RETURNS (object): The JSON of the answer.
        RAISES (NoAnswer): If the server cannot be reached, exceeds the timeout or
            reports a temporary problem.
        RAISES (Refused): If it refuses the request, or sends it elsewhere.
        RAISES (MalformedAnswer): If the answer is no JSON, or may not be read.
        """
        import openai

        most_bytes.set(size)
        options = {} if body is None else {"body": body}
        answer = getattr(self._client, method)(path, cast_to=object, **options)
        timeout = self._timeout
        try:
            # for the whole answer; the client's timeouts start again with each byte
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            reason = f"Timeout, no complete answer within {timeout:g} seconds"
            raise NoAnswer(reason) from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, MalformedAnswer):
                raise error.__cause__ from None  # openai 1 wraps all errors
            raise NoAnswer(self._words(error)) from None
        except openai.APIStatusError as error:
            status, headers = error.status_code, error.response.headers
            if status >= 500 or status in _PASSING:
                wait = _retry_after(headers)
                raise NoAnswer(self._words(error), wait=wait) from None
            raise self._refused(error) from None
        except RecursionError:
            raise MalformedAnswer("its JSON is nested too deeply") from None
        except (ValueError, openai.OpenAIError) as error:
            # a ValueError means invalid JSON
            raise MalformedAnswer(self._words(error)) from None

    def _refused(self, error: Any) -> Refused:
        """The error for a status of which a repeated request makes no other."""
        url, status = self._url, error.status_code
        location = error.response.headers.get("Location")
        if 300 <= status < 400 and location:
            other = self.plain(location)
            message = Errors.P184.format(url=url, status=status, other=other)
        else:
            message = Errors.P174.format(url=url, error=self._words(error))
        refused = Refused(message + self.proxy_note)
        refused.status = status
        return refused

    def plain(self, words: str) -> str:
        """Words of a server for a message: without secrets, and shortened.

        words (str): The words.
        """
        words = hide(words, self._secrets)
        return "".join(char if char.isprintable() else " " for char in words[:_MESSAGE])

    def _words(self, error: Exception) -> str:
        # the client's message is only "Connection error."
        cause = error.__cause__ or error
        return self.plain(str(cause) or type(cause).__name__)


class Refused(ValueError):
    """A request that the server refused, with the HTTP status."""

    status: int = 0


class NoAnswer(Exception):
    """The server cannot be reached, or has a temporary problem.

    wait (float | None): The seconds after which it asks to repeat the request.
    """

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        """Keep the reason.

        reason (str): Why there is no answer.
        wait (float | None): See the class.
        """
        super().__init__(reason)
        self.wait = wait


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of the header Retry-After; None if it asks for too many."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= _LONGEST_RETRY_AFTER else None


def _make_client(settings: ServerSettings, key: str, secrets: Sequence[str]) -> Any:
    try:
        import openai
    except ImportError as error:
        raise ValueError(Errors.P170) from error
    try:
        return openai.AsyncOpenAI(
            base_url=settings.base_url.rstrip("/"),  # it adds one
            api_key=key or "EMPTY",  # the client requires one
            timeout=None,
            max_retries=0,  # `Connection` repeats requests, and limits their time
            http_client=make_http_client(),
        )
    except Exception as error:
        # httpx raises any kind for an address, a proxy or certificates
        url, found = settings.base_url[:_MESSAGE], hide(str(error), secrets)[:_MESSAGE]
        # its traceback would show what was cut out
        raise ValueError(Errors.P742.format(url=url, error=found)) from None
