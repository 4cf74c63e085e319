"""Read-only files and folders: copied, saved over and deleted."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import make_lm
from helpers import NAME, model_folder, named, trained

from spacy_padellm.lm.saving.folder import copy_model_folder, write_model_folder
from spacy_padellm.lm.task.config import TaskSettings, read_settings, read_taught_tags
from spacy_padellm.lm.task.tags import read_old_tags
from spacy_padellm.modes import open_folders
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.replacing import replaced_folder

SETTINGS = TaskSettings({"PER": "person"}, PRESETS["paper-en"])
NOBODY = 65534

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such modes")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """New files are readable for all, whatever the umask of this process."""
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in which every user may write; pytest's belong to one alone."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o777)
    yield folder
    open_folders(folder)
    shutil.rmtree(folder)


@contextmanager
def as_user() -> Iterator[None]:
    """Be a user whom modes hold for; root may write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def modes(folder: Path) -> set[int]:
    """The modes of a folder and what is in it."""
    paths = [folder, *folder.rglob("*")]
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


def read_only_model(folder: Path) -> Path:
    """A copy of the trained model that nobody may change."""
    shutil.copytree(model_folder(), folder)
    (folder / "LICENSES").mkdir()
    (folder / "LICENSES" / "MIT.txt").write_text("MIT", "utf8")
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def several_templates(folder: Path) -> None:
    """Write a model whose tokenizer has several chat templates."""
    lm = make_lm("llama")
    lm.tokenizer.chat_template = {"default": "{{ messages }}", "tool": "x"}
    write_model_folder(folder, lm, SETTINGS, dtype=torch.float32)


def test_modes_of_a_written_model_let_all_users_read_it(tmp_path: Path) -> None:
    several_templates(tmp_path / "model")
    templates = tmp_path / "model" / "additional_chat_templates"
    assert [path.name for path in templates.iterdir()] == ["tool.jinja"]
    assert modes(templates) == {0o755, 0o644}
    assert modes(tmp_path / "model") == {0o755, 0o644}


def test_modes_of_a_written_model_follow_the_umask(tmp_path: Path) -> None:
    os.umask(0o027)
    several_templates(tmp_path / "model")
    assert modes(tmp_path / "model") == {0o750, 0o640}
    assert modes(tmp_path / "model" / "additional_chat_templates") == {0o750, 0o640}


def test_modes_of_a_written_model_let_it_be_written_again(place: Path) -> None:
    with as_user():
        for _ in range(2):
            several_templates(place / "model")


def test_modes_of_a_copied_model_let_its_owner_change_it(tmp_path: Path) -> None:
    base = read_only_model(tmp_path / "base")
    copy_model_folder(base, tmp_path / "copy", SETTINGS, trusted=False)
    assert modes(tmp_path / "copy") <= {0o755, 0o644}
    assert modes(base) == {0o555, 0o444}


def test_modes_of_a_copied_folder_let_those_enter_it_who_list_it(
    tmp_path: Path,
) -> None:
    shutil.copytree(model_folder(), tmp_path / "base")
    # as earlier versions wrote it; root alone may read it
    (tmp_path / "base" / "LICENSES").mkdir(mode=0o744)
    copy_model_folder(tmp_path / "base", tmp_path / "copy", SETTINGS, trusted=False)
    assert modes(tmp_path / "copy" / "LICENSES") == {0o755}


def test_modes_of_a_read_only_model_let_it_be_saved_again_and_again(
    place: Path,
) -> None:
    base = read_only_model(place / "base")
    with as_user():
        nlp = trained(model=named(base))
        assert nlp.to_bytes()
        for _ in range(3):
            nlp.to_disk(place / "nlp")
    left = [p.name for p in (place / "nlp").iterdir() if p.name.startswith(".")]
    assert left == []


def test_modes_of_an_old_copy_let_it_be_replaced(place: Path) -> None:
    base = shutil.copytree(model_folder(), place / "base")
    with as_user():
        nlp = trained(model=named(base))
        nlp.to_disk(place / "nlp")
        model = place / "nlp" / NAME / "model"
        model.chmod(0o555)  # as earlier versions copied it
        nlp.to_disk(place / "nlp")
        assert not list((place / "nlp").glob(".*"))
        assert modes(model) == {0o755, 0o644}


def test_modes_of_old_parts_let_them_be_deleted(place: Path) -> None:
    with as_user():
        (place / "folder" / "model").mkdir(parents=True)
        (place / "folder" / "model" / "weights").touch()
        (place / "folder" / "mine").touch()
        (place / "folder" / "model").chmod(0o555)
        with replaced_folder(place / "folder", ["model"]) as new:
            (new / "model").mkdir()
    found = {path.name for path in (place / "folder").rglob("*")}
    assert found == {"model", "mine"}


def test_modes_of_linked_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o500)
    (tmp_path / "folder").mkdir(mode=0o500)
    tmp_path.joinpath("folder", "inner").mkdir(mode=0o500)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "other")
    open_folders(tmp_path / "folder")
    assert modes(tmp_path / "other") == {0o500}
    assert modes(tmp_path / "folder" / "inner") == {0o700}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("padellm.json", read_settings),
        ("padellm.json", read_taught_tags),
        ("config.json", read_old_tags),
        ("padellm_tags.json", read_old_tags),
    ],
)
def test_modes_of_unreadable_settings_are_named(
    place: Path, name: str, read: object
) -> None:
    assert callable(read)
    file = place / name
    file.write_text(SETTINGS.to_json(), "utf8")
    file.chmod(0)
    with (
        as_user(),
        pytest.raises(ValueError, match=rf"{file}: Permission denied\. Give yourself"),
    ):
        read(place)


def test_modes_of_a_folder_that_may_not_be_entered_are_named(place: Path) -> None:
    (place / "model").mkdir()
    (place / "model" / "padellm.json").touch()
    (place / "model").chmod(0)
    with as_user(), pytest.raises(ValueError, match=r"padellm\.json: Permission"):
        read_settings(place / "model")
