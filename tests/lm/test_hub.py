"""Files of hub models, out of the hub's cache on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacy_padellm.lm.hub import fetch_file, fetch_optional_file

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
