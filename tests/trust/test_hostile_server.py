"""Model servers that cheat, stall or die: an error for the texts concerned only."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("openai")

from conftest import LABELS, same
from hypothesis import given, strategies as st
from server_faults import BAD, TEXTS, always, is_of, stream
from small_server import Reply, SmallServer

from spacy_padellm.decoding.base import DecodeJob, DecodeResult
from spacy_padellm.decoding.server import connection, transport
from spacy_padellm.decoding.server.answers import (
    CompletionRequest,
    MalformedAnswer,
    OtherModel,
    UnusableAnswer,
    read_answers,
)
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")

SOON = {"Retry-After": "0.001"}
AWAY: Reply = (503, SOON, b"{}")


def only(
    server: SmallServer, prompt: PromptTokens, change: Callable[[bytes], Reply]
) -> None:
    """Let the server change the right answer to one text."""

    def fault(path: str, body: dict[str, Any]) -> Reply | None:
        if not is_of(prompt, BAD, path, body):
            return None
        return change(json.dumps(server.answer(path, body)[1]).encode())

    server.fault = fault


def told(
    found: list[DecodeResult], expected: list[list[Mention]], *, saying: str
) -> Exception:
    """The error of the one text; the others are as they should be."""
    error = found.pop(2)
    assert isinstance(error, ConnectionError | ValueError)
    assert saying in str(error)
    assert same(found, expected[:2] + expected[3:])
    return error


# Answers


def test_hostile_server_answers_sent_twice_reach_no_other_text(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    def twice(path: str, body: dict[str, Any]) -> Reply:
        content = json.dumps(server.answer(path, body)[1]).encode()
        length = str(len(content))
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        again = f"{head}Content-Length: {length}\r\n\r\n".encode() + content
        return 200, {"Content-Length": length}, content + again

    server.fault = twice
    assert same(list(stream(server, prompt, max_concurrency=1)), expected)


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"a":' * 200_000])
def test_hostile_server_json_nested_too_deeply_is_told(
    deep: bytes,
    server: SmallServer,
    prompt: PromptTokens,
    expected: list[list[Mention]],
) -> None:
    server.fault = always(prompt, (200, {}, deep))
    told(list(stream(server, prompt)), expected, saying="nested too deeply")


def test_hostile_server_answer_of_another_model_is_told(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    only(server, prompt, lambda right: (200, {}, b'{"model": "large",' + right[1:]))
    found = list(stream(server, prompt, max_retries=3))
    told(found, expected, saying="comes from another model, large")


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ((b"{", b'{"model": "large",'), "another model, large"),
        ((b'"logprobs"', b'"unknown"'), "no log-probabilities"),
    ],
)
def test_hostile_server_behind_a_proxy_is_told_so(
    change: tuple[bytes, bytes],
    saying: str,
    server: SmallServer,
    prompt: PromptTokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "proxy_note", lambda url: " Through a proxy.")
    only(server, prompt, lambda right: (200, {}, right.replace(*change, 1)))
    errors = [e for e in stream(server, prompt) if isinstance(e, Exception)]
    assert errors
    assert all(
        str(e).endswith(" Through a proxy.") and saying in str(e) for e in errors
    )


def test_hostile_server_may_have_several_names_for_one_model(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    names = [{"id": name, "root": "/models/a"} for name in ("small", "alias")]
    names.append({"id": "large", "root": "/models/b"})

    def fault(path: str, body: dict[str, Any]) -> Reply | None:
        if path == "/v1/models":
            return 200, {}, json.dumps({"data": names}).encode()
        if path == "/v1/completions":
            named = {**server.answer(path, body)[1], "model": answers_as}
            return 200, {}, json.dumps(named).encode()
        return None

    server.fault, answers_as = fault, "small"
    assert same(list(stream(server, prompt, model="alias")), expected)
    answers_as = "large"
    with pytest.raises(ValueError, match="another model, large"):
        list(stream(server, prompt, model="alias"))


numbers = st.integers() | st.floats() | st.booleans() | st.none()
anything = st.recursive(
    numbers | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
entries = st.fixed_dictionaries({"id": anything, "logprob": anything}) | anything
logprobs = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.lists(st.sampled_from(["token_id:1", "x"]) | anything, max_size=2),
        "token_logprobs": st.lists(numbers, max_size=2) | anything,
        "content": st.lists(entries, max_size=2) | anything,
    },
)
server_decoder = st.fixed_dictionaries(
    {"index": st.just(0) | anything, "logprobs": logprobs | anything},
    optional={
        "finish_reason": st.just("stop") | anything,
        "token_ids": st.lists(numbers, max_size=2) | anything,
        "prompt_token_ids": st.just([7]) | anything,
        "text": anything,
    },
)
bodies = st.fixed_dictionaries(
    {"choices": st.lists(server_decoder | anything, max_size=2) | anything},
    optional={"model": st.just("small") | anything},
)


@given(bodies | anything)
def test_hostile_server_answers_of_any_shape_are_read_or_told(body: object) -> None:
    request = CompletionRequest([[7]], 2, models={"small"}, vocabulary=8, decode=str)
    try:
        (answer,) = read_answers(body, request)
    except (MalformedAnswer, UnusableAnswer, OtherModel):
        return
    assert len(answer.tokens) == len(answer.log_probabilities) <= 2
    assert all(0 <= token < 8 for token in answer.tokens)
    assert all(score <= 0 for score in answer.log_probabilities)


# Time and size


def test_hostile_server_that_drips_an_answer_meets_the_deadline(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    def drip(content: bytes) -> Iterator[bytes]:
        step = len(content) // 60 + 1
        for start in range(0, len(content), step):
            time.sleep(0.1)
            yield content[start : start + step]

    def slowly(right: bytes) -> Reply:
        return 200, {"Content-Length": str(len(right))}, drip(right)

    only(server, prompt, slowly)
    found = list(stream(server, prompt, timeout=3))
    told(found, expected, saying="no complete answer within 3 seconds")


def test_hostile_server_answer_that_is_too_long_is_not_read(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    only(server, prompt, lambda right: (200, {}, right + b" " * (5 << 20)))
    told(list(stream(server, prompt)), expected, saying="it is longer than 42")


def test_hostile_server_answer_that_is_compressed_is_not_unpacked(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    coding = {"Content-Encoding": "gzip"}
    only(server, prompt, lambda right: (200, coding, gzip.compress(right)))
    told(list(stream(server, prompt)), expected, saying="it is compressed (gzip)")


# Secrets


@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions"])
def test_hostile_server_redirects_are_not_followed(
    path: str,
    server: SmallServer,
    prompt: PromptTokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: secret")
    with SmallServer(server.lm) as other:

        def elsewhere(request_path: str, body: dict[str, Any]) -> Reply | None:
            target = other.url.removesuffix("/v1") + request_path
            return (307, {"Location": target}, b"") if request_path == path else None

        server.fault = elsewhere
        with pytest.raises(ValueError, match=f"redirects .* to {other.url}"):
            list(stream(server, prompt))
        assert other.requests == []


def test_hostile_server_key_in_an_answer_is_cut_out_before_the_answer_is(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-0123456789"
    monkeypatch.setenv("NER_KEY", key)
    server_decoder = ServerDecoder(server.url, api_key_env="NER_KEY", max_retries=0)
    for before in range(150, 520, 5):
        text = "." * before + key
        server.fault = always(prompt, (200, {}, json.dumps({"x": text}).encode()))
        (error,) = server_decoder.stream(DecodeJob(prompt, LABELS), [BAD])
        assert isinstance(error, ConnectionError)
        assert "sk-" not in str(error)


def test_hostile_server_key_in_the_name_of_a_model_is_not_shown(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_KEY", "sk-0123456789")
    names = json.dumps({"data": [{"id": "sk-0123456789"}]}).encode()
    server.fault = lambda path, body: (200, {}, names)
    with pytest.raises(ValueError, match=r"serves: \*\*\*"):
        list(stream(server, prompt, api_key_env="NER_KEY", model="small"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NER_KEY", "a\\sk-0123"),
        ("NER_KEY", "a'sk-0123\"b"),
        ("NER_KEY", "sk-0123+/="),
        ("OPENAI_ORG_ID", "sk-0123"),
        ("OPENAI_CUSTOM_HEADERS", "X-Other: a\nX-Key: sk-0123"),
    ],
)
def test_hostile_server_secret_in_another_form_is_not_shown(
    server: SmallServer,
    prompt: PromptTokens,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv("NER_KEY", "sk-0123456789")
    monkeypatch.setenv(variable, value)
    secret = value.rpartition(": ")[2]
    words = f"{secret!r} {json.dumps(secret)} {quote(secret)} {quote(secret, safe='')}"
    answer = json.dumps({"error": {"message": words}}).encode()
    server.fault = always(prompt, (400, {}, answer))
    server_decoder = ServerDecoder(server.url, api_key_env="NER_KEY", max_retries=0)
    (error,) = server_decoder.stream(DecodeJob(prompt, LABELS), [BAD])
    assert "***" in str(error)
    assert "sk-0123" not in str(error)


# Servers that die


def many(server: SmallServer, prompt: PromptTokens, count: int) -> list[DecodeResult]:
    server_decoder = ServerDecoder(server.url, max_retries=2, max_concurrency=1)
    return list(server_decoder.stream(DecodeJob(prompt, LABELS), [TEXTS[0]] * count))


def test_hostile_server_that_is_dead_is_not_tried_again_for_each_text(
    server: SmallServer, prompt: PromptTokens
) -> None:
    server.fault = lambda path, body: AWAY
    first, *others = many(server, prompt, 20)
    assert "did not answer in up to 3 tries" in str(first)
    for error in others:
        assert isinstance(error, ConnectionError)
        assert "the tries for an earlier text" in str(error)
    # three tries for the first, and one for each of the others
    assert len(server.requests) == 3 + 19


def test_hostile_server_that_is_dead_and_slow_is_not_asked_for_each_text(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_QUICK", 0.0)

    def slowly(path: str, body: dict[str, Any]) -> Reply:
        time.sleep(1 if len(server.requests) > 3 else 0)
        return AWAY

    server.fault = slowly
    assert len(many(server, prompt, 20)) == 20
    assert len(server.requests) == 3 + 1


def test_hostile_server_that_answers_others_is_dead_for_one_text_only(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server.fault = always(prompt, (500, {}, b"{}"))
    for _ in range(2):
        found = list(stream(server, prompt, max_concurrency=1))
        told(found, expected, saying="did not answer")


def test_hostile_server_whose_model_is_dead_is_asked_for_tokens_first(
    server: SmallServer, prompt: PromptTokens
) -> None:
    server_decoder = ServerDecoder(server.url, max_retries=2, max_concurrency=1)
    job = DecodeJob(prompt, LABELS)
    assert isinstance(next(server_decoder.stream(job, TEXTS[:1])), list)
    # its list of models is still there
    server.fault = lambda path, body: AWAY if path == "/v1/completions" else None
    before = len(server.requests)
    assert len(list(server_decoder.stream(job, [TEXTS[0]] * 10))) == 10
    assert len(server.requests) - before == 3 + 9


@pytest.mark.parametrize(
    "url",
    [
        "http://\uff4cocalhost/v1",  # full width
        "http://ner.example.com/v1\r\nX-Header: x",
        "http://ner.example.com/\x00",
        "http://[v1.x]/v1",
    ],
)
def test_hostile_server_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(
        ValueError, match="Cannot connect to the server 'http://"
    ) as told:
        ServerDecoder(url)._connect()
    assert len(str(told.value)) < 2000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "foo://x"),
        ("HTTP_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "no such file"),
    ],
)
def test_hostile_server_is_not_what_a_wrong_environment_is(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=rf"Cannot connect to the .*{variable}"):
        ServerDecoder("http://localhost:8000/v1")._connect()
