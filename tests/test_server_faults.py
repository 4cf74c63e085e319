"""`ServerDecoder` and servers that fail: what is tried again, and what is told."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("openai")

from small_server import Fault, SmallServer
from test_decoding import LABELS, LIMITS, prepare, random_texts, same

from spacy_padellm.decoding.base import Found, decode
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.server import ServerDecoder
from spacy_padellm.lm import LanguageModel
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import PromptTokens

TEXTS = random_texts(seed=7, count=5)
BAD = TEXTS[2]
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Random models hit the limits all the time."""
    with caplog.at_level(logging.WARNING, logger="spacy_padellm"):
        yield


@pytest.fixture(scope="module")
def model() -> tuple[LanguageModel, PromptTokens]:
    return prepare("llama", "paper-en")


@pytest.fixture(scope="module")
def wanted(model: tuple[LanguageModel, PromptTokens]) -> list[list[Mention]]:
    return decode(BatchDecoder(**LIMITS), *model, TEXTS, LABELS)


@pytest.fixture
def prompt(model: tuple[LanguageModel, PromptTokens]) -> PromptTokens:
    return model[1]


@pytest.fixture
def server(model: tuple[LanguageModel, PromptTokens]) -> Iterator[SmallServer]:
    with SmallServer(model[0]) as server:
        yield server


def stream(
    server: SmallServer, prompt: PromptTokens, **settings: Any
) -> Iterator[Found]:
    settings = {**LIMITS, "max_retries": 0, **settings}
    return ServerDecoder(server.url, **settings).stream(None, prompt, TEXTS, LABELS)


def is_of(prompt: PromptTokens, text: str, path: str, body: dict[str, Any]) -> bool:
    """Whether a request asks for the counts of a text."""
    (branches,) = prompt.count_branches([text], list(LABELS.values()))
    counts = [branches.root + ids for ids in branches.labels]
    return path == "/v1/completions" and body["prompt"] == counts


def once(
    server: SmallServer, prompt: PromptTokens, answer: Callable[[], Answer | None]
) -> list[float]:
    """Let the first request for one text fail; gives when it is asked."""
    times: list[float] = []

    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        if not is_of(prompt, BAD, path, body):
            return None
        times.append(time.monotonic())
        return answer() if len(times) == 1 else None

    server.fault = fault
    return times


def always(prompt: PromptTokens, answer: Answer) -> Fault:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        return answer if is_of(prompt, BAD, path, body) else None

    return fault


def choices(*, of: list[dict[str, Any]]) -> Answer:
    return 200, {}, json.dumps({"choices": of}).encode()


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
    name: str, server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    times = once(server, prompt, lambda: PASSING[name])
    assert same(list(stream(server, prompt, max_retries=1)), wanted)
    assert len(times) == 2


@pytest.mark.parametrize("name", PASSING)
def test_server_error_stays_with_its_text_after(
    name: str, server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    server.fault = always(prompt, PASSING[name])
    found = list(stream(server, prompt))
    error = found.pop(2)
    assert isinstance(error, ConnectionError)
    assert server.url in str(error)
    assert same(found, wanted[:2] + wanted[3:])


def test_server_is_waited_for_as_it_asks(
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    times = once(server, prompt, lambda: (429, {"Retry-After": "2"}, b"{}"))
    assert same(list(stream(server, prompt, max_retries=1)), wanted)
    assert times[1] - times[0] >= 2


def test_server_that_is_late_is_asked_again(
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    release = threading.Event()

    def late() -> None:
        release.wait(30)

    times = once(server, prompt, late)
    found = list(stream(server, prompt, max_retries=3, timeout=8))
    release.set()
    assert same(found, wanted)
    assert len(times) > 1


def test_server_that_refuses_connections_is_told(
    server: SmallServer, prompt: PromptTokens
) -> None:
    server.kill()
    found = list(stream(server, prompt, max_retries=1))
    server.start()
    assert len(found) == len(TEXTS)
    for error in found:
        assert isinstance(error, ConnectionError)
        assert "did not answer after 2 tries" in str(error)


def test_server_killed_and_started_again_loses_no_text(
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
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
    assert same(found, wanted)


def test_server_down_at_first_is_checked_by_the_texts_after(
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    server.kill()
    results = stream(server, prompt, max_concurrency=1)
    assert isinstance(next(results), ConnectionError)
    server.start()
    later = list(results)
    # texts under way at the time may still have met the closed door
    found = [mentions for mentions in later if not isinstance(mentions, Exception)]
    assert found
    assert same(found, wanted[-len(found) :])


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
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    server.fault = always(prompt, (400, {}, b'{"error": {"message": "too long"}}'))
    found = list(stream(server, prompt, max_retries=3))
    error = found.pop(2)
    assert isinstance(error, ValueError)
    assert "too long" in str(error)
    assert same(found, wanted[:2] + wanted[3:])
    assert sum(is_of(prompt, BAD, *request) for request in server.requests) == 1


def test_server_without_the_model_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    with pytest.raises(ValueError, match=r"has no model large; it serves: small"):
        list(stream(server, prompt, model="large"))


def test_server_without_log_probabilities_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        bare = {"index": 0, "text": "x", "logprobs": None, "finish_reason": "stop"}
        return choices(of=[bare]) if path == "/v1/completions" else None

    server.fault = fault
    with pytest.raises(ValueError, match="gives no log-probabilities"):
        list(stream(server, prompt, max_retries=3))
    assert len(server.asked) == 1


def test_server_without_token_ids_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        logprobs = {"tokens": ["x"], "token_logprobs": [-1.0]}
        plain = {"index": 0, "logprobs": logprobs, "finish_reason": "stop"}
        return choices(of=[plain]) if path == "/v1/completions" else None

    server.fault = fault
    with pytest.raises(ValueError, match="gives tokens without their ids"):
        list(stream(server, prompt))


def test_server_with_another_tokenizer_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        said = json.dumps({"prompt": "something else"}).encode()
        return (200, {}, said) if path == "/detokenize" else None

    server.fault = fault
    with pytest.raises(ValueError, match="has another tokenizer"):
        list(stream(server, prompt))


def echoing(said: Callable[[str], str], prompt: PromptTokens) -> Fault:
    """A server behind a gateway that lets only OpenAI's paths through."""

    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        if path == "/detokenize":
            return 404, {}, b"{}"
        if not body.get("echo"):
            return None
        text = said(prompt.tokenizer.decode(body["prompt"]))
        logprobs = {"tokens": ["x", "y"], "token_logprobs": [None, -1.0]}
        return choices(of=[{"index": 0, "text": text, "logprobs": logprobs}])

    return fault


def test_server_tokenizer_is_checked_by_an_echo(
    server: SmallServer, prompt: PromptTokens, wanted: list[list[Mention]]
) -> None:
    server.fault = echoing(lambda text: text + " more", prompt)
    assert same(list(stream(server, prompt)), wanted)
    server.fault = echoing(str.upper, prompt)
    with pytest.raises(ValueError, match="has another tokenizer"):
        list(stream(server, prompt))


def test_server_whose_tokenizer_cannot_be_checked_is_warned_of(
    server: SmallServer, prompt: PromptTokens, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        if path == "/detokenize" or body.get("echo"):
            return 404, {}, b"{}"
        return None

    server.fault = fault
    assert len(list(stream(server, prompt))) == len(TEXTS)
    assert "Could not check" in caplog.text


def test_server_key_comes_from_the_environment_and_goes_nowhere_else(
    server: SmallServer,
    prompt: PromptTokens,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NER_KEY", "sk-secret-123")
    refusal = json.dumps({"error": {"message": "no sk-secret-123 here"}}).encode()
    server.fault = lambda path, body: (401, {}, refusal)
    one = ServerDecoder(server.url, api_key_env="NER_KEY")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ValueError, match=r"no \*\*\* here") as caught,
    ):
        decode(one, None, prompt, TEXTS, LABELS)
    assert set(server.keys) == {"Bearer sk-secret-123"}
    assert caught.value.__cause__ is None
    assert "sk-secret-123" not in repr(one) + caplog.text
    assert "sk-secret-123" not in str(one.__getstate__())


def test_server_key_that_is_not_set_is_told(
    prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NER_KEY", raising=False)
    one = ServerDecoder("http://localhost/v1", api_key_env="NER_KEY")
    with pytest.raises(ValueError, match="NER_KEY, which api_key_env names"):
        decode(one, None, prompt, TEXTS, LABELS)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000/v1", "ftp://host/v1", "http://", "https://me:sk-1@host/v1"],
)
def test_server_address_that_cannot_be_saved_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        ServerDecoder(url)
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("max_concurrency", 0), ("max_retries", -1), ("timeout", 0.0)],
)
def test_server_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        ServerDecoder("http://localhost/v1", **{setting: value})


def test_server_given_up_in_the_middle_ends_its_requests(
    server: SmallServer, prompt: PromptTokens
) -> None:
    released = threading.Event()

    def hold(path: str, body: dict[str, Any]) -> None:
        if is_of(prompt, BAD, path, body):
            released.wait(30)

    server.fault = hold
    one = ServerDecoder(server.url, **LIMITS)
    results = one.stream(None, prompt, TEXTS, LABELS)
    next(results)
    results.close()
    served = one.__dict__["_served"]
    # all slots are free again, though the server still works
    for _ in range(one.max_concurrency):
        slot = served.connection.submit(served.connection.slots.acquire())
        assert slot.result(timeout=20)
    released.set()


def test_server_port_where_nothing_listens_is_told(prompt: PromptTokens) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        one = ServerDecoder(url, max_retries=0)
        with pytest.raises(ConnectionError, match="did not answer"):
            decode(one, None, prompt, TEXTS, LABELS)
