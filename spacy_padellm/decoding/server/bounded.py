"""The HTTP client: no redirects, no compression, answers of limited size.

A server is not trusted. So each request has a connection of its own, on which nothing
can be left over from another answer.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from spacy_padellm.decoding.server.answers import MalformedAnswer

# bytes that the answer to the current request may have
most_bytes: ContextVar[int] = ContextVar("most_bytes")

_HEADERS = {"Accept-Encoding": "identity", "Connection": "close"}


def make_http_client() -> Any:
    """Make a client for `openai.AsyncOpenAI`.

    Its `send` raises a MalformedAnswer if an answer is compressed, or longer than
    `most_bytes`. It has no timeout of its own.
    """
    import openai

    class BoundedClient(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            response = await super().send(request, **{**options, "stream": True})
            try:
                content = await _read(response)
            finally:
                await response.aclose()
            return type(response)(
                response.status_code,
                headers=response.headers,
                content=content,
                request=response.request,
            )

    return BoundedClient(follow_redirects=False, headers=_HEADERS, timeout=None)


async def _read(response: Any) -> bytes:
    """Read the body of a response."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise MalformedAnswer(f"it is compressed ({coding}), which was not asked for")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > most_bytes.get():
            raise MalformedAnswer(f"it is longer than {most_bytes.get()} bytes")
    return bytes(content)
