"""Runs are one if they are taught the same, wherever its files are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import NAME, gold_examples, initialised, without_settings
from spacy.tokens import DocBin
from spacy.util import load_config, load_model_from_config

from spacy_padellm.lm.task.config import TaskSettings, write_settings
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.prompt.template import make_prompt
from spacy_padellm.training.run_identity import Run, differences, run_of

CONFIG = Path(__file__).parents[2] / "configs" / "finetune.cfg"
TREE = {"@misc": "spacy-padellm.TreeDecoder.v1"}


@pytest.fixture(scope="module")
def docs() -> DocBin:
    examples = gold_examples(initialised())
    return DocBin(docs=[example.reference for example in examples])


@pytest.fixture
def place(tmp_path: Path, docs: DocBin) -> Path:
    """A folder with texts, among them linked ones, and a base model."""
    for name in ("train", "linked", "base"):
        (tmp_path / name).mkdir()
    docs.to_disk(tmp_path / "train" / "a.spacy")
    docs.to_disk(tmp_path / "linked" / "b.spacy")
    (tmp_path / "train" / "more").symlink_to(tmp_path / "linked")
    without_settings(tmp_path / "base")
    return tmp_path


def run_with(place: Path, **more: Any) -> Run:
    overrides = {
        "paths.train": str(place / "train"),
        "paths.dev": str(place / "train"),
        "components.padellm_ner.model.name": str(place / "base"),
        "components.padellm_ner.model.device": "cpu",
        **more,
    }
    config = load_config(CONFIG, overrides=overrides)
    return run_of(load_model_from_config(config, auto_fill=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("components.padellm_ner.spans_key", "others"),
        ("components.padellm_ner.layout", "ignore"),
        ("training.max_epochs", -1),  # the texts are not shuffled
        ("nlp.lang", "de"),  # they are cut into other tokens
        ("training.seed", 5),
    ],
)
def test_run_identity_other_teaching_is_another_run(
    place: Path, name: str, value: object
) -> None:
    assert differences(run_with(place), run_with(place, **{name: value})) == [name]


def with_old_texts(place: Path, **more: Any) -> Run:
    """A run that is also trained on what the component finds in old texts."""
    corpus = {
        "@readers": "spacy-padellm.Corpus.v1",
        "path": str(place / "train"),
        "old_texts": str(place / "train" / "a.spacy"),
    }
    return run_with(place, **{"corpora.train": corpus, **more})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.2),
        ("dedup", "off"),
        ("document_memory", False),
        ("alignment_mode", "strict"),
        ("decoder", {**TREE, "tag_weight": 0.1}),
    ],
)
def test_run_identity_what_is_found_in_old_texts_is_taught(
    place: Path, name: str, value: object
) -> None:
    change = {f"components.{NAME}.{name}": value}
    (found,) = differences(with_old_texts(place), with_old_texts(place, **change))
    assert found.startswith(f"components.{NAME}.{name}")
    assert not differences(run_with(place), run_with(place, **change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.device", "auto"),
        ("decoder", {**TREE, "devices": ["cpu"]}),
        ("scorer", {"@scorers": "spacy-padellm.NerScorer.v1", "spans_key": "x"}),
    ],
)
def test_run_identity_places_and_scores_of_old_texts_do_not_matter(
    place: Path, name: str, value: object
) -> None:
    change = {f"components.{NAME}.{name}": value}
    assert not differences(with_old_texts(place), with_old_texts(place, **change))


def test_run_identity_thresholds_of_the_model_matter_for_old_texts(
    place: Path,
) -> None:
    settings = TaskSettings({}, make_prompt("paper-en", prefix_lm=True))
    write_settings(place / "base", settings)
    plain, before = run_with(place), with_old_texts(place)
    tuned = replace(settings, tuning=Tuning({"PER": 0.9}))
    write_settings(place / "base", tuned)
    assert not differences(plain, run_with(place))
    found = differences(before, with_old_texts(place))
    assert found == [f"the files of components.{NAME}.model.name"]


@pytest.mark.parametrize(
    "settings",
    [
        {"paths.dev": "elsewhere"},
        {"training.score_weights": {"ents_f": 1.0}},
        {"training.max_epochs": 7},
        {"components.padellm_ner.threshold": 0.2},
        {"components.padellm_ner.model.device": "auto"},
        {"nlp.batch_size": 8},
    ],
)
def test_run_identity_settings_that_teach_nothing_do_not_matter(
    place: Path, settings: dict[str, Any]
) -> None:
    assert not differences(run_with(place), run_with(place, **settings))


def test_run_identity_place_of_the_files_does_not_matter(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_with(place)
    moved = place / "moved"
    moved.mkdir()
    for name in ("train", "base"):
        shutil.move(place / name, moved)
    assert not differences(before, run_with(moved))
    monkeypatch.chdir(moved)
    assert not differences(before, run_with(moved, **{"paths.train": "train/"}))


def _touch(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda place: _touch(place / "train" / "README.md"), False),
        (lambda place: _touch(place / "train" / ".old" / "a.spacy"), False),
        (lambda place: (place / "train" / "gone").symlink_to("nothing"), False),
        (lambda place: _touch(place / "linked" / "b.spacy"), True),
        (lambda place: _touch(place / "train" / "c.spacy"), True),
    ],
)
def test_run_identity_files_that_spacy_reads_matter(
    place: Path, change: Callable[[Path], object], differs: bool
) -> None:
    before = run_with(place)
    change(place)
    found = differences(before, run_with(place))
    assert found == (["the files of corpora.train.path"] if differs else [])


def test_run_identity_another_gguf_file_is_another_run(place: Path) -> None:
    file = place / "small.gguf"
    setting = {f"components.{NAME}.model.name": str(file)}
    name = f"the files of components.{NAME}.model.name"
    _touch(file)
    first = run_with(place, **setting)
    file.write_bytes(b"y")
    second = run_with(place, **setting)
    assert differences(first, second) == [name]
    (place / "tokenizer.json").write_text("{}")  # it goes before the file's own
    assert differences(second, run_with(place, **setting)) == [name]


def test_run_identity_files_with_labels_matter(place: Path) -> None:
    file = place / "labels.json"
    reader = {"@readers": "spacy.read_labels.v1", "path": str(file)}
    setting = {"initialize.components": {NAME: {"labels": reader}}}
    file.write_text('{"PER": "person"}')
    before = run_with(place, **setting)
    assert not differences(before, run_with(place, **setting))
    file.write_text('{"PER": "name"}')
    found = differences(before, run_with(place, **setting))
    assert found == [f"the files of initialize.{NAME}.labels.path"]


@pytest.mark.parametrize("value", ["", "x" * 300])
def test_run_identity_settings_that_are_no_paths_have_no_files(
    place: Path, value: str
) -> None:
    reader = {"corpora.train.@readers": "spacy-padellm.Corpus.v1"}
    run = run_with(place, **reader, **{"corpora.train.component": value})
    assert set(run["files"]) == set(run_with(place, **reader)["files"])
