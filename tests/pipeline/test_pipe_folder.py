"""Pipelines whose folder is deleted or overwritten once they are loaded."""

from __future__ import annotations

import multiprocessing as mp
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from helpers import (
    NAME,
    TEXT,
    entities,
    initialised,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    same_weights,
    train,
    trained,
    trained_folder,
    weights_of,
)
from spacy.language import Language


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another pipeline: an untrained one."""
    path = tmp_path_factory.mktemp("other")
    initialised().to_disk(path)
    return path


def replace_all(folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def write_over(folder: Path, other: Path) -> None:
    shutil.copytree(other, folder, dirs_exist_ok=True)


def truncate(folder: Path, other: Path) -> None:
    (folder / NAME / "model" / "model.safetensors").write_bytes(b"")


ACCIDENTS: dict[str, Callable[[Path, Path], object]] = {
    "deleted": lambda folder, other: shutil.rmtree(folder),
    "moved": lambda folder, other: folder.rename(folder.with_name("moved")),
    "replaced": replace_all,
    "written over": write_over,
    "truncated": truncate,
}


def to_disk_and_back(nlp: Language, place: Path) -> Language:
    nlp.to_disk(place / "saved")
    return spacy.load(place / "saved")


WAYS: dict[str, Callable[[Language, Path], Language]] = {
    "used": lambda nlp, place: nlp,
    "saved": to_disk_and_back,
    "in bytes": lambda nlp, place: make_nlp().from_bytes(nlp.to_bytes()),
    "pickled": lambda nlp, place: pickle.loads(pickle.dumps(nlp)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_component_folder_is_not_needed_after_loading(
    accident: str, used: bool, way: str, folder: Path, other: Path, tmp_path: Path
) -> None:
    nlp = spacy.load(folder)
    if used:
        nlp(TEXT)
    ACCIDENTS[accident](folder, other)
    found = predictions(WAYS[way](nlp, tmp_path))
    assert found == predictions(spacy.load(trained_folder()))


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_component_folder_is_not_needed_for_training(
    accident: str, folder: Path, other: Path
) -> None:
    nlp, expected = spacy.load(folder), spacy.load(trained_folder())
    ACCIDENTS[accident](folder, other)
    for each in (nlp, expected):
        train(each, steps=1)
    assert same_weights(weights_of(nlp), weights_of(expected))


def test_component_folder_of_a_used_model_is_not_needed(tmp_path: Path) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    nlp = trained(model=named(tmp_path / "model"))
    before = predictions(nlp)
    shutil.rmtree(tmp_path / "model")
    for way in WAYS.values():
        assert predictions(way(nlp, tmp_path)) == before
    pipe_of(nlp).set_labels(["PER"])
    assert entities(nlp(TEXT)) == [("Anna Smith", "PER"), ("Bob", "PER")]


def test_component_folder_of_a_model_is_not_used_if_it_changed(
    tmp_path: Path, other: Path
) -> None:
    shutil.copytree(model_folder(), tmp_path / "model")
    nlp = trained(model=named(tmp_path / "model"))
    replace_all(tmp_path / "model", other / NAME / "model")
    message = r"was changed or deleted after the pipeline was made with it"
    with pytest.raises(ValueError, match=message):
        nlp(TEXT)
    with pytest.raises(ValueError, match=message):
        nlp.to_disk(tmp_path / "saved")


def test_component_folder_of_an_adapters_base_is_not_needed(tmp_path: Path) -> None:
    shutil.copytree(model_folder(), tmp_path / "base")
    lora = {"r": 4, "target_modules": ["q_proj"]}
    nlp = trained(model=named(tmp_path / "base", model={"lora": lora}))
    train(nlp, steps=1)
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    shutil.rmtree(tmp_path / "base")
    assert predictions(pickle.loads(pickle.dumps(loaded))) == predictions(nlp)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_component_folder_is_read_by_spawned_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy.language.mp", mp.get_context("spawn"))
    nlp = spacy.load(folder)
    docs = list(nlp.pipe([TEXT, TEXT], n_process=2, batch_size=1))
    assert [entities(doc) for doc in docs] == [entities(nlp(TEXT))] * 2
