"""Secrets of the environment go to no server that a config names by itself."""

from __future__ import annotations

import base64
import os
import traceback
from pathlib import Path

import pytest

pytest.importorskip("openai")

import spacy
from helpers import LABELS, TEXT, make_nlp, named
from trust_helpers import write_model

from spacy_padellm.decoding.server.connection import Connection
from spacy_padellm.decoding.server.secrets import find_secrets, hide
from spacy_padellm.decoding.server.settings import ServerSettings, check_url
from spacy_padellm.proxies import proxy_note

HOST = "ner.example.com"
PROMPT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
    monkeypatch.delenv("PADELLM_API_KEY_HOSTS", raising=False)
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda host, *args, **kwargs: pytest.fail(f"asked {host}")
    )


def connect(url: str, *, variable: str = "OPENAI_API_KEY") -> Connection:
    settings = ServerSettings(
        base_url=url,
        model=None,
        api_key_env=variable,
        max_concurrency=1,
        max_retries=0,
        timeout=1.0,
    )
    return Connection(settings)


@pytest.mark.parametrize(
    "variable",
    [
        "OPENAI_API_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_CUSTOM_HEADERS",
    ],
)
def test_secrets_of_openai_do_not_go_to_any_server(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "X-Secret: secret")
    message = rf"{variable} is not sent to the server ner\.example\.com"
    with pytest.raises(ValueError, match=message) as caught:
        connect(f"http://{HOST}/v1")
    assert "X-Secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"https://{HOST}/v1", "https://api.openai.com/v1", "http://10.0.0.1/v1"]
)
def test_secrets_that_a_config_names_do_not_go_to_any_server(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    message = "AWS_SECRET_ACCESS_KEY is not sent .* set PADELLM_API_KEY_HOSTS="
    with pytest.raises(ValueError, match=message):
        connect(url, variable="AWS_SECRET_ACCESS_KEY")


def test_secrets_of_a_saved_pipeline_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = {
        "@misc": "spacy-padellm.ServerDecoder.v1",
        "base_url": f"http://{HOST}/v1",
        "api_key_env": "AWS_SECRET_ACCESS_KEY",
    }
    model = named(write_model(tmp_path / "model"))
    nlp = make_nlp(model=model, decoder=decoder, labels=LABELS, prompt=PROMPT)
    nlp.to_disk(tmp_path / "nlp")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY is not sent"):
        spacy.load(tmp_path / "nlp")(TEXT)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",  # not encrypted
        "https://api.openai.com.example.com/v1",
        "https://evil-api.openai.com/v1",
        "https://api.openai.com\\.example.com/v1",
        "http://localhost.example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "http://0.0.0.0/v1",
    ],
)
def test_secrets_do_not_go_to_servers_with_similar_names(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with pytest.raises(ValueError, match=r"OPENAI_API_KEY is not sent|cannot be used"):
        connect(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "http://LOCALHOST/v1",
        "http://127.0.0.1:8000/v1",
        "http://127.8.8.8/v1",
        "http://[::1]:8000/v1",
    ],
)
def test_secrets_go_to_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NER_KEY", "secret")
    assert connect(url, variable="NER_KEY")


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "ALL_PROXY"])
def test_secrets_for_this_machine_do_not_go_to_a_proxy(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that a proxy calls localhost is the proxy's."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NER_KEY", "secret")
    monkeypatch.setenv(proxy, "http://proxy.example.com:3128")
    message = (
        r"NER_KEY is not sent .*proxy proxy\.example\.com:3128.*NO_PROXY=localhost"
    )
    with pytest.raises(ValueError, match=message):
        connect("http://localhost:8000/v1", variable="NER_KEY")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert connect("http://localhost:8000/v1", variable="NER_KEY")


def test_secrets_of_openai_go_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "secret")
    assert connect("https://api.openai.com/v1")


@pytest.mark.parametrize("hosts", [HOST, f"other.example.com, {HOST.upper()} ,"])
def test_secrets_go_to_hosts_that_the_environment_names(
    hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NER_KEY", "secret")
    monkeypatch.setenv("PADELLM_API_KEY_HOSTS", hosts)
    assert connect(f"http://{HOST}:8000/v1", variable="NER_KEY")


def test_secrets_do_not_go_to_hosts_with_longer_names_than_those_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NER_KEY", "secret")
    monkeypatch.setenv("PADELLM_API_KEY_HOSTS", "example.com")
    with pytest.raises(ValueError, match="NER_KEY is not sent"):
        connect(f"http://{HOST}/v1", variable="NER_KEY")


def test_secrets_are_not_needed_by_a_server_without_a_key() -> None:
    assert connect(f"http://{HOST}/v1")


# What error messages show


@pytest.mark.parametrize("url", ["ab:secret@h/v1", "http:ab:secret@h", "//secret@h"])
def test_secrets_in_an_address_without_slashes_are_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="cannot be used") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_secrets_of_a_proxy_that_cannot_be_read_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ab:hunter2/word@proxy:80")
    with pytest.raises(ValueError, match="proxies") as caught:
        connect(f"https://{HOST}/v1")
    shown = "".join(traceback.format_exception(caught.value))
    assert "***" in shown
    assert "hunter2" not in shown


def test_secrets_in_the_path_of_a_proxy_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ab:pass@proxy:80/secret?secret#secret")
    note = proxy_note(f"https://{HOST}/v1")
    assert "proxy:80," in note
    assert "secret" not in note


def test_secrets_that_are_short_do_not_spoil_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Debug: 1")
    monkeypatch.setenv("NER_KEY", "sk-0123")
    words = "status 401: sk-0123 is unknown"
    assert hide(words, find_secrets("NER_KEY")) == "status 401: *** is unknown"


@pytest.mark.parametrize("proxy", ["http://anna:{}@proxy:80", "anna:{}@proxy:80"])
@pytest.mark.parametrize(
    "quoted",
    [
        "pa%20ss%2Fword",
        "pa ss/word",
        base64.b64encode(b"anna:pa ss/word").decode(),
    ],
)
def test_secrets_of_a_proxy_are_hidden_as_it_is_sent_them(
    proxy: str, quoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.format("pa%20ss%2Fword"))
    words = f"status 407: {quoted} is wrong"
    assert hide(words, find_secrets("NER_KEY")) == "status 407: *** is wrong"


def test_secrets_are_no_part_of_a_proxy_without_a_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:80")
    assert find_secrets("NER_KEY") == []


@pytest.mark.skipif(os.name == "nt", reason="the environment is text there")
def test_secrets_that_are_not_utf8_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = os.fsdecode(b"caf\xe9-word")
    monkeypatch.setenv("HTTPS_PROXY", f"http://anna:{secret}@proxy:80")
    found = find_secrets("NER_KEY")
    assert hide(f"{secret} caf%E9-word", found) == "*** ***"
