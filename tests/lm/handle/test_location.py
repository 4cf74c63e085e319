"""Where a model's files are, and what holds for them there."""

from __future__ import annotations

from pathlib import Path

import pytest

from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.location import (
    Bytes,
    Elsewhere,
    Package,
    UserFiles,
    locate,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", "utf8")
    return tmp_path / "model"


@pytest.mark.parametrize("name", [None, "", "owner/model", "/no/such/folder", "~no/x"])
def test_location_of_a_model_that_is_not_here_is_elsewhere(name: str | None) -> None:
    assert locate(name) == Elsewhere()


def test_location_of_a_bundled_model_is_the_package() -> None:
    location = locate("bundled-en-sm")
    assert location == Package(BUNDLED["bundled-en-sm"])
    assert location.folder() == BUNDLED["bundled-en-sm"]


def test_location_of_a_folder_holds_in_other_working_directories(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    location = locate("model")
    monkeypatch.chdir("/")
    assert isinstance(location, UserFiles)
    assert location.path == location.folder() == folder


@pytest.mark.parametrize("change", ["write", "delete"])
def test_location_of_files_that_changed_is_refused(folder: Path, change: str) -> None:
    location, file = locate(str(folder)), folder / "config.json"
    location.check_unchanged()
    file.unlink() if change == "delete" else file.write_text("[1, 2]", "utf8")
    assert not location.is_unchanged()
    assert location.folder() is None
    with pytest.raises(ValueError, match="was changed or deleted"):
        location.check_unchanged()


def test_location_of_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    location = locate(str(tmp_path / "model.gguf"))
    assert location.is_unchanged()
    assert location.folder() is None


@pytest.mark.parametrize("location", [Elsewhere(), Bytes()])
def test_location_without_files_here_cannot_change(
    location: Elsewhere | Bytes,
) -> None:
    location.check_unchanged()
    assert location.is_unchanged()
    assert location.folder() is None
