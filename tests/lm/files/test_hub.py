"""Files of hub models, out of the hub's cache on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from spacy_padellm.lm.files import hub
from spacy_padellm.lm.files.hub import fetch_file, fetch_optional_file

NAME = "some-one/some-model"


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cached model that has only a config, without a connection to the hub."""
    repository = tmp_path / "models--some-one--some-model"
    folder = repository / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", "utf8")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", "utf8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return folder


def test_hub_file_is_found_in_the_cache(snapshot: Path) -> None:
    for fetch in (fetch_file, fetch_optional_file):
        assert fetch(NAME, "config.json", revision=None) == snapshot / "config.json"


def test_hub_file_that_is_missing_is_an_error(snapshot: Path) -> None:
    with pytest.raises(ValueError, match="Could not load"):
        fetch_file(NAME, "padellm.json", revision=None)


def test_hub_optional_file_may_be_missing(snapshot: Path) -> None:
    assert fetch_optional_file(NAME, "padellm.json", revision=None) is None


@pytest.mark.parametrize("name", ["no-one/no-model", "not a name"])
def test_hub_model_that_is_missing_is_an_error(snapshot: Path, name: str) -> None:
    for fetch in (fetch_file, fetch_optional_file):
        with pytest.raises(ValueError, match="Could not load"):
            fetch(name, "padellm.json", revision=None)


def test_hub_revision_that_is_missing_is_an_error(snapshot: Path) -> None:
    with pytest.raises(ValueError, match="Could not load"):
        fetch_optional_file(NAME, "padellm.json", revision="other")


# Without a connection


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, snapshot: Path) -> str:
    """The address of a hub that does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    return address


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["no-one/no-model", "no-model", "en_core_web_sm"])
def test_hub_that_does_not_answer_is_told_at_once(unreachable: str, name: str) -> None:
    message = (
        rf"'{name}': it is not a bundled model \(bundled-en.*{unreachable} does not"
    )
    for fetch in (fetch_file, fetch_optional_file):
        with pytest.raises(ValueError, match=message):
            fetch(name, "padellm.json", revision=None)


@pytest.mark.timeout(20)
def test_hub_that_does_not_answer_is_not_needed_for_the_cache(
    unreachable: str, snapshot: Path
) -> None:
    path = snapshot / "config.json"
    assert fetch_file(NAME, "config.json", revision=None) == path
    assert fetch_optional_file(NAME, "padellm.json", revision=None) is None


def test_hub_that_does_not_answer_is_asked_once_a_minute(
    unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []

    class Session:
        def head(self, url: str, *, timeout: float) -> None:
            requests.append(url)
            raise OSError("refused")

    monkeypatch.setattr(hub, "get_session", Session)
    for _ in range(3):
        assert hub.why_offline() == f"{unreachable} does not answer (refused)"
    assert len(requests) == 1
    monkeypatch.setattr(hub, "_AGAIN", 0.0)
    hub.why_offline()
    assert len(requests) == 2


def test_hub_that_is_switched_off_is_told_so(snapshot: Path) -> None:
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set in the environment"):
        fetch_file("no-one/no-model", "config.json", revision=None)
