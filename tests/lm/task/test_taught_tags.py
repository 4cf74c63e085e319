"""Folders of earlier versions hold tags elsewhere than in `padellm.json`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import make_lm

from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.lm.handle.handle import ModelHandle
from spacy_padellm.lm.handle.source import ModelSource
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.saving.folder import write_model_folder
from spacy_padellm.lm.task.config import TaskSettings, read_settings, read_taught_tags
from spacy_padellm.lm.task.tags import TaughtTags, read_old_tags
from spacy_padellm.prompt.template import PRESETS

SETTINGS = TaskSettings({"PER": "person", "LOC": "place"}, PRESETS["paper-en"])
TAGS = TaughtTags({"person": 7, "place": 9}, {"place": 11}, [["person", "place"]], True)
OLD = {
    "padellm_tags": {"person": 7, "place": 9},
    "padellm_begins": {"place": 11},
    "padellm_tag_sets": [["person", "place"]],
    "padellm_overlaps": True,
}


def handle_of(folder: Path) -> ModelHandle:
    return ModelHandle(ModelSource(str(folder), dtype="float32", device="cpu"))


def stored(folder: Path, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / file).read_text("utf8"))
    return content


def make_old(folder: Path, file: str) -> None:
    """Move the tags of a folder to where earlier versions saved them."""
    settings = stored(folder, "padellm.json")
    del settings["tags"]
    (folder / "padellm.json").write_text(json.dumps(settings), "utf8")
    others = stored(folder, file) if (folder / file).is_file() else {}
    (folder / file).write_text(json.dumps({**others, **OLD}), "utf8")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A model folder as this version saves it."""
    lm = make_lm("llama")
    lm.tags = TAGS
    write_model_folder(tmp_path / "new", lm, SETTINGS, dtype=lm.dtype)
    return tmp_path / "new"


@pytest.fixture
def old(new: Path) -> Path:
    """The same folder as earlier versions saved it."""
    make_old(new, "config.json")
    return new


def assert_new_form(folder: Path) -> None:
    assert not [key for key in stored(folder, "config.json") if "padellm" in key]
    assert not (folder / "padellm_tags.json").exists()
    assert stored(folder, "padellm.json")["tags"] == TAGS.to_dict()


def test_taught_tags_are_saved_in_padellm_json(new: Path) -> None:
    assert_new_form(new)
    assert load_model(str(new)).tags == TAGS
    assert read_taught_tags(new) == TAGS


def test_taught_tags_of_an_old_folder_are_loaded(old: Path) -> None:
    assert load_model(str(old)).tags == TAGS
    settings = read_settings(old)
    assert settings is not None
    assert settings.tags == TAGS


def test_taught_tags_of_an_old_folder_without_settings_are_loaded(old: Path) -> None:
    (old / "padellm.json").unlink()
    assert load_model(str(old)).tags == TAGS


def test_taught_tags_without_sets_are_one_set(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"padellm_tags": {"a": 1, "b": 2}}', "utf8")
    assert read_old_tags(tmp_path) == TaughtTags({"a": 1, "b": 2}, sets=[["a", "b"]])


def test_taught_tags_of_a_folder_that_says_nothing_are_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', "utf8")
    assert read_taught_tags(tmp_path) is None


def test_taught_tags_of_an_unreadable_old_folder_are_an_error(
    old: Path,
) -> None:
    config = {**stored(old, "config.json"), "padellm_tags": ["person"]}
    (old / "config.json").write_text(json.dumps(config), "utf8")
    with pytest.raises(ValueError, match="Cannot read"):
        read_taught_tags(old)


@pytest.mark.parametrize("content", ["{", "[]", "5", '{"padellm_tags": 5}'])
def test_taught_tags_of_a_damaged_config_name_that_file(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(content, "utf8")
    saying = f"^Cannot read {re.escape(str(file))}: .* copy or download it again"
    with pytest.raises(ValueError, match=saying):
        read_taught_tags(tmp_path)


@pytest.mark.parametrize("trained", [False, True])
def test_taught_tags_of_an_old_folder_are_saved_in_the_new_form(
    old: Path, tmp_path: Path, trained: bool
) -> None:
    handle = handle_of(old)
    if trained:
        handle.trainable([])
    handle.save(tmp_path / "again", SETTINGS)
    assert_new_form(tmp_path / "again")
    assert load_model(str(tmp_path / "again")).tags == TAGS


def test_taught_tags_of_an_old_folder_are_saved_over_it(old: Path) -> None:
    handle_of(old).save(old, SETTINGS)
    assert_new_form(old)


def test_taught_tags_of_an_old_folder_outlast_bytes(old: Path) -> None:
    handle = ModelHandle(ModelSource(None, dtype="float32", device="cpu"))
    handle.from_files(handle_of(old).to_files(SETTINGS))
    assert handle.lm().tags == TAGS


def test_taught_tags_of_the_bundled_model_come_from_its_folder(
    tmp_path: Path,
) -> None:
    tags = stored(BUNDLED["bundled-en-sm"], "padellm.json")["tags"]
    lm = load_model("bundled-en-sm")
    assert lm.tags.inside == tags["inside"]
    assert lm.tags.begins == tags["begins"]
    assert lm.tags.sets == tags["sets"]
    shutil.copytree(BUNDLED["bundled-en-sm"], tmp_path / "model")
    assert load_model(str(tmp_path / "model")).tags == lm.tags


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A LoRA adapter with tags, on a base model that has others."""
    pytest.importorskip("peft")
    base = make_lm("llama")
    base.tags = TaughtTags({"medicine": 5}, sets=[["medicine"]])
    write_model_folder(tmp_path / "base", base, SETTINGS, dtype=base.dtype)
    name = str(tmp_path / "base")
    lm = with_lora(load_model(name), {"r": 2}, name=name, revision=None, new_tokens=[])
    assert lm.tags == base.tags
    lm.tags = TAGS
    write_model_folder(tmp_path / "adapter", lm, SETTINGS, dtype=lm.dtype)
    return tmp_path / "adapter"


def test_taught_tags_of_an_adapter_are_saved_in_padellm_json(adapter: Path) -> None:
    assert not (adapter / "padellm_tags.json").exists()
    assert load_model(str(adapter)).tags == TAGS


def test_taught_tags_of_an_old_adapter_are_loaded_and_saved_in_the_new_form(
    adapter: Path, tmp_path: Path
) -> None:
    make_old(adapter, "padellm_tags.json")
    assert load_model(str(adapter)).tags == TAGS
    handle_of(adapter).save(tmp_path / "again", SETTINGS)
    assert not (tmp_path / "again" / "padellm_tags.json").exists()
    assert stored(tmp_path / "again", "padellm.json")["tags"] == TAGS.to_dict()


@pytest.mark.parametrize("kind", ["new", "adapter"])
@pytest.mark.parametrize("part", ["inside", "begins"])
def test_taught_tags_that_the_model_has_no_tokens_for_are_an_error(
    kind: str, part: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    settings = stored(folder, "padellm.json")
    settings["tags"][part]["place"] = 400  # of 0 to 399
    (folder / "padellm.json").write_text(json.dumps(settings), "utf8")
    named = re.escape(f"The tags in {folder / 'padellm.json'} stand for tokens")
    with pytest.raises(ValueError, match=rf"{named} up to 400, .* only \d+ tokens"):
        load_model(str(folder))


def test_taught_tags_of_an_adapter_that_says_nothing_are_the_base_models(
    adapter: Path,
) -> None:
    make_old(adapter, "padellm_tags.json")
    (adapter / "padellm_tags.json").unlink()
    assert load_model(str(adapter)).tags.inside == {"medicine": 5}
