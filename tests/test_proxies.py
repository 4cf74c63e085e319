"""What is said of a proxy that requests go through."""

from __future__ import annotations

import os

import pytest

from spacy_padellm.proxies import proxy_note

LOCAL = "http://127.0.0.1:8000/v1"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "url", "host"),
    [
        ("HTTP_PROXY", LOCAL, "127.0.0.1"),
        ("http_proxy", "http://localhost:8000/v1", "localhost"),
        ("HTTPS_PROXY", "https://some.host/v1", "some.host"),
        ("https_proxy", "https://some.host/v1", "some.host"),
        ("ALL_PROXY", LOCAL, "127.0.0.1"),
        ("all_proxy", "https://[::1]:8000/v1", "::1"),
    ],
)
def test_proxies_are_told_with_the_variable_and_the_remedy(
    variable: str, url: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://me:secret@proxy.test:3128")
    note = proxy_note(url)
    assert f"through the proxy proxy.test:3128, from {variable} in the" in note
    assert f"set NO_PROXY={host} in" in note
    assert "secret" not in note


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, LOCAL),
        ({"HTTPS_PROXY": "http://proxy.test"}, LOCAL),
        ({"HTTP_PROXY": "http://proxy.test", "NO_PROXY": "127.0.0.1"}, LOCAL),
        ({"HTTP_PROXY": "http://proxy.test", "NO_PROXY": "a.test, 127.0.0.1"}, LOCAL),
        ({"ALL_PROXY": "http://proxy.test", "no_proxy": "*"}, LOCAL),
    ],
)
def test_proxies_that_are_not_used_are_not_told(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_note(url) == ""
