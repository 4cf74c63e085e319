"""`ServerDecoder` and what it asks of a server first: its model, answers, key."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("openai")

from conftest import LABELS, LIMITS, same
from server_faults import TEXTS, Answer, choices, stream
from small_server import Fault, SmallServer

from spacy_padellm.decoding.base import DecodeJob, decode
from spacy_padellm.decoding.server.decoder import ServerDecoder
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")


def test_server_without_the_model_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    with pytest.raises(ValueError, match=r"has no model large; it serves: small"):
        list(stream(server, prompt, model="large"))


def test_server_without_a_list_of_models_is_asked_for_the_named_model(
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        if path == "/v1/models":
            return 404, {}, b"{}"
        if path == "/v1/completions" and body["model"] != "small":
            return 404, {}, b'{"error": {"message": "no such model"}}'
        return None

    server.fault = fault
    assert same(list(stream(server, prompt, model="small")), expected)
    with pytest.raises(ValueError, match="no such model"):
        list(stream(server, prompt, model="large"))
    with pytest.raises(ValueError, match="which usually ends in /v1"):
        list(stream(server, prompt))


BASE = {"id": "base", "root": "org/base", "parent": None, "max_model_len": 200}
ADAPTER = {"id": "adapter", "root": "lora", "parent": "base", "max_model_len": None}


def serving(*models: dict[str, Any]) -> Fault:
    """Lists these models."""

    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        listed = path == "/v1/models"
        return (200, {}, json.dumps({"data": models}).encode()) if listed else None

    return fault


@pytest.mark.parametrize(
    ("models", "context"),
    [
        ([BASE, ADAPTER], 200),
        ([ADAPTER, BASE], 200),
        ([BASE, {"id": "adapter", "parent": "base"}], 200),
        ([BASE, {**ADAPTER, "max_model_len": 100}], 100),
        ([BASE, {**ADAPTER, "parent": "middle"}, {**ADAPTER, "id": "middle"}], 200),
        ([{"id": "base", "meta": {"n_ctx": 300}}, ADAPTER], 300),
    ],
    ids=["vllm", "listed_first", "no_field", "its_own", "two_steps", "llama_cpp"],
)
def test_server_adapter_has_the_context_of_its_base(
    server: SmallServer,
    prompt: PromptTokens,
    models: list[dict[str, Any]],
    context: int,
) -> None:
    server.fault = serving(*models)
    decoder = ServerDecoder(server.url, model="adapter", max_retries=0)
    assert decoder.context(prompt) == context


@pytest.mark.parametrize(
    "models",
    [
        [BASE, {**ADAPTER, "parent": "other"}],
        [BASE, {**ADAPTER, "parent": None}],
        [BASE, {**ADAPTER, "parent": ["base"]}],
        [BASE, {**ADAPTER, "parent": {}}],
        [{**BASE, "max_model_len": "200"}, ADAPTER],
        [BASE, {**ADAPTER, "parent": "adapter"}],
        [{**BASE, "max_model_len": None, "parent": "adapter"}, ADAPTER],
    ],
    ids=["unlisted", "none", "list", "object", "no_number", "itself", "loop"],
)
def test_server_adapter_without_a_base_that_tells_its_context_has_no_limit(
    server: SmallServer, prompt: PromptTokens, models: list[dict[str, Any]]
) -> None:
    server.fault = serving(*models)
    decoder = ServerDecoder(server.url, model="adapter", max_retries=0)
    assert decoder.context(prompt) is None


def test_server_adapter_gets_no_text_that_is_too_long_for_its_base(
    server: SmallServer, prompt: PromptTokens
) -> None:
    server.fault = serving(BASE, ADAPTER)
    decoder = ServerDecoder(server.url, model="adapter", max_retries=0)
    (error,) = decoder.stream(DecodeJob(prompt, LABELS), ["Berlin " * 300])
    assert "does not fit the model, which takes 200 tokens" in str(error)


def test_server_without_log_probabilities_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        bare = {"index": 0, "text": "x", "logprobs": None, "finish_reason": "stop"}
        return choices(of=[bare]) if path == "/v1/completions" else None

    server.fault = fault
    with pytest.raises(ValueError, match="returns no log-probabilities"):
        list(stream(server, prompt, max_retries=3))
    assert len(server.completions) == 1


def test_server_without_token_ids_is_told_at_once(
    server: SmallServer, prompt: PromptTokens
) -> None:
    def fault(path: str, body: dict[str, Any]) -> Answer | None:
        logprobs = {"tokens": ["x"], "token_logprobs": [-1.0]}
        plain = {"index": 0, "logprobs": logprobs, "finish_reason": "stop"}
        return choices(of=[plain]) if path == "/v1/completions" else None

    server.fault = fault
    with pytest.raises(ValueError, match="returns tokens without their ids"):
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
    server: SmallServer, prompt: PromptTokens, expected: list[list[Mention]]
) -> None:
    server.fault = echoing(lambda text: text + " more", prompt)
    assert same(list(stream(server, prompt)), expected)
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
    server_decoder = ServerDecoder(server.url, api_key_env="NER_KEY")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ValueError, match=r"no \*\*\* here") as caught,
    ):
        decode(server_decoder, None, prompt, TEXTS, LABELS)
    assert set(server.keys) == {"Bearer sk-secret-123"}
    assert caught.value.__cause__ is None
    assert "sk-secret-123" not in repr(server_decoder) + caplog.text
    assert "sk-secret-123" not in str(server_decoder.__getstate__())


def test_server_key_that_is_not_set_is_told(
    prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NER_KEY", raising=False)
    server_decoder = ServerDecoder("http://localhost/v1", api_key_env="NER_KEY")
    with pytest.raises(ValueError, match="NER_KEY, named by api_key_env"):
        decode(server_decoder, None, prompt, TEXTS, LABELS)


def test_server_key_is_taken_without_the_end_of_its_line(
    server: SmallServer, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_KEY", "sk-secret-123\n")
    list(
        ServerDecoder(server.url, api_key_env="NER_KEY").stream(
            DecodeJob(prompt, LABELS), TEXTS[:1]
        )
    )
    assert set(server.keys) == {"Bearer sk-secret-123"}


@pytest.mark.parametrize("key", ["sk-ключ-123", "sk-1\nsk-2"])
def test_server_key_that_can_be_none_is_told_but_not_shown(
    key: str, prompt: PromptTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_KEY", key)
    server_decoder = ServerDecoder("http://localhost/v1", api_key_env="NER_KEY")
    with pytest.raises(ValueError, match="NER_KEY is not an API key") as caught:
        decode(server_decoder, None, prompt, TEXTS, LABELS)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "https://me:sk-1@host/v1",
        "http://host/v1 ",
        "http://my host/v1",
        "http://ner..example.com/v1",
        "http://" + "a" * 64 + ".com/v1",
        "http://host/" + "a" * 2000,
        "sk-1" * 100_000,
        5,
        None,
        b"http://host/v1",
    ],
    ids=lambda url: str(url)[:30],
)
def test_server_address_that_cannot_be_saved_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        ServerDecoder(url)
    assert "sk-1" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_server_address_may_end_in_slashes(
    slashes: str,
    server: SmallServer,
    prompt: PromptTokens,
    expected: list[list[Mention]],
) -> None:
    slashed = ServerDecoder(server.url + slashes, **LIMITS, max_retries=0)
    assert same(decode(slashed, None, prompt, TEXTS, LABELS), expected)
    paths = {path for path, _ in server.requests}
    assert paths == {"/v1/models", "/detokenize", "/v1/completions"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("max_concurrency", 0), ("max_retries", -1), ("timeout", 0.0), ("timeout", "9")],
)
def test_server_settings_out_of_range_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=setting):
        ServerDecoder("http://localhost/v1", **{setting: value})
