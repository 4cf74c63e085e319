"""`ServerDecoder` and servers that fail: what is tried again, and what is told."""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Any

import pytest

pytest.importorskip("openai")

from conftest import LABELS, LIMITS, same
from server_faults import (
    BAD,
    TEXTS,
    Answer,
    always,
    choices,
    is_of,
    once,
    stream,
)
from small_server import SmallServer

from spacy_padellm.decoding.base import DecodeJob, decode
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")


FULL = {"Content-Length": "1000"}  # more than is sent
PASSING: dict[str, Answer] = {
    "too many requests": (429, {}, b"{}"),
    "server error": (500, {}, b"{}"),
    "overloaded": (503, {}, b"<html>"),
    "not json": (200, {}, b"<html>"),
    "html": (200, {"Content-Type": "text/html"}, b"<html>"),
    "cut off body": (200, FULL, b'{"choices": ['),
    "no choices": (200, {}, b'{"choices": null}'),
    "too few choices": choices(of=[]),
}


@pytest.mark.parametrize("name", PASSING)
def test_server_is_asked_again_after(
    name: str, server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    times = once(server, prompt, lambda: PASSING[name])
    assert same(list(stream(server, prompt, max_retries=1)), expected)
    assert len(times) == 2


@pytest.mark.parametrize("name", PASSING)
def test_server_error_stays_with_its_text_after(
    name: str, server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server.fault = always(prompt, PASSING[name])
    found = list(stream(server, prompt))
    error = found.pop(2)
    assert isinstance(error, ConnectionError)
    assert server.url in str(error)
    assert same(found, expected[:2] + expected[3:])


def test_server_is_waited_for_as_it_asks(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    times = once(server, prompt, lambda: (429, {"Retry-After": "2"}, b"{}"))
    assert same(list(stream(server, prompt, max_retries=1)), expected)
    assert times[1] - times[0] >= 2


def test_server_that_is_late_is_asked_again(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    release = threading.Event()

    def late() -> None:
        release.wait(30)

    times = once(server, prompt, late)
    found = list(stream(server, prompt, max_retries=3, timeout=4))
    release.set()
    assert same(found, expected)
    assert len(times) > 1


def test_server_that_stays_late_leaves_its_text_with_the_error(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    release = threading.Event()

    def late(path: str, body: dict[str, Any]) -> None:
        if is_of(prompt, BAD, path, body):
            release.wait(30)

    server.fault = late
    found = list(stream(server, prompt, timeout=4))
    release.set()
    error = found.pop(2)
    assert isinstance(error, ConnectionError)
    assert "Timeout" in str(error)
    assert same(found, expected[:2] + expected[3:])


def test_server_that_refuses_connections_is_told(
    server: SmallServer, prompt: PromptTokens
) -> None:
    server.kill()
    found = list(stream(server, prompt, max_retries=1))
    server.start()
    assert len(found) == len(TEXTS)
    for error in found:
        assert isinstance(error, ConnectionError)
        assert "did not answer in up to 2 tries" in str(error)


def test_server_killed_and_started_again_loses_no_text(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    def restart() -> None:
        time.sleep(0.5)
        server.start()

    results = stream(server, prompt, max_retries=8, max_concurrency=2)
    found = [next(results)]
    server.kill()
    starter = threading.Thread(target=restart)
    starter.start()
    found += results
    starter.join()
    assert same(found, expected)


def test_server_down_at_first_is_checked_by_the_texts_after(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server.kill()
    results = stream(server, prompt, max_concurrency=1)
    assert isinstance(next(results), ConnectionError)
    server.start()
    later = list(results)
    # texts under way at the time may still have met the closed door
    found = [mentions for mentions in later if not isinstance(mentions, Exception)]
    assert found
    assert same(found, expected[-len(found) :])


def test_server_answer_that_was_cut_off_is_told(
    server: SmallServer, prompt: PromptTokens
) -> None:
    scores = {"token_logprobs": [-1.0], "tokens": ["x"]}
    cut = {"token_ids": [5], "logprobs": scores, "finish_reason": "abort"}
    server.fault = always(
        prompt, choices(of=[{**cut, "index": n} for n in range(len(LABELS))])
    )
    error = list(stream(server, prompt))[2]
    assert isinstance(error, ConnectionError)
    assert "cut off at 1 of 6 tokens (abort)" in str(error)


def test_server_refusal_is_not_repeated(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server.fault = always(prompt, (400, {}, b'{"error": {"message": "too long"}}'))
    found = list(stream(server, prompt, max_retries=3))
    error = found.pop(2)
    assert isinstance(error, ValueError)
    assert "too long" in str(error)
    assert same(found, expected[:2] + expected[3:])
    assert sum(is_of(prompt, BAD, *request) for request in server.requests) == 1


def test_server_given_up_in_the_middle_ends_its_requests(
    server: SmallServer, prompt: PromptTokens
) -> None:
    released = threading.Event()

    def hold(path: str, body: dict[str, Any]) -> None:
        if is_of(prompt, BAD, path, body):
            released.wait(30)

    server.fault = hold
    server_decoder = ServerDecoder(server.url, **LIMITS)
    results = server_decoder.stream(DecodeJob(prompt, LABELS), TEXTS)
    next(results)
    results.close()
    served = server_decoder.__dict__["_served"]
    # all slots are free again, though the server still works
    for _ in range(server_decoder.max_concurrency):
        slot = served.connection.submit(served.connection.slots.acquire())
        assert slot.result(timeout=20)
    released.set()


def test_server_port_where_nothing_listens_is_told(prompt: PromptTokens) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        server_decoder = ServerDecoder(url, max_retries=0)
        with pytest.raises(ConnectionError, match="did not answer"):
            decode(server_decoder, None, prompt, TEXTS, LABELS)


@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_server_behind_a_proxy_is_told_so(
    fault: str, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        if fault == "silent":
            listening.listen()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        decoder = ServerDecoder("http://localhost:8000/v1", max_retries=0, timeout=1.0)
        message = rf"go through the proxy 127\.0\.0\.1:{port}.*set NO_PROXY=localhost"
        for _ in range(2):  # the second is not tried
            (error,) = decoder.stream(DecodeJob(prompt, LABELS), ["Bob ran"])
            assert isinstance(error, ConnectionError)
            assert re.search(message, str(error))
