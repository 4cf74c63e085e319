"""What a trained model thinks of texts (scripts/soft_labels.py)."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import soft_labels
import torch
from safetensors import safe_open
from soft_labels import (
    COUNTS,
    Task,
    begin,
    choose_names,
    choose_texts,
    load_task,
    run_of,
    write_labels,
)

TEXTS = ["Angela Merkel met Emmanuel Macron in Paris.", "Nobody was there."]


@pytest.fixture(scope="module")
def task() -> Task:
    """The bundled model."""
    return load_task("bundled-en")


@pytest.fixture(scope="module")
def written(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of the texts."""
    path = tmp_path_factory.mktemp("labels") / "000.safetensors"
    write_labels(path, task, TEXTS)
    return path


def test_soft_labels_tags_are_probabilities_of_each_token(
    task: Task, written: Path
) -> None:
    with safe_open(written, "pt") as file:
        sizes, tags = file.get_tensor("sizes"), file.get_tensor("tags").float()
        offsets = file.get_tensor("offsets")
        texts = bytes(file.get_tensor("text").tolist()).decode().split("\n")
    assert sorted(texts, key=len) == sorted(TEXTS, key=len)
    assert len(tags) == len(offsets) == int(sizes.sum())
    assert torch.allclose(tags.sum(dim=1), torch.ones(len(tags)), atol=0.01)
    place = texts.index(TEXTS[0])
    start = int(sizes[:place].sum())
    begins = 1 + list(task.names).index("person")
    first = int(offsets[start][0])
    assert texts[place][first:].lstrip().startswith("Angela")
    assert int(tags[start].argmax()) == begins


def test_soft_labels_counts_are_the_models(task: Task, written: Path) -> None:
    with safe_open(written, "pt") as file:
        counts = file.get_tensor("counts").float()
        texts = bytes(file.get_tensor("text").tolist()).decode().split("\n")
        assert json.loads(file.metadata()["names"]) == list(task.names)
    assert counts.shape == (2, len(task.names), COUNTS)
    persons = counts[texts.index(TEXTS[0]), list(task.names).index("person")]
    assert int(persons.argmax()) == 2
    assert (counts[texts.index(TEXTS[1])].argmax(dim=-1) == 0).all()


def test_soft_labels_chosen_texts_are_the_same_for_a_seed(tmp_path: Path) -> None:
    lines = [f"This is sentence number {n} of the file." for n in range(50)]
    (tmp_path / "a.txt").write_text("\n\n".join([*lines, *lines]), "utf8")
    first = choose_texts([tmp_path], 20, random.Random(3))
    assert first == choose_texts([tmp_path], 20, random.Random(3))
    assert len(set(first)) == 20
    assert first != choose_texts([tmp_path], 20, random.Random(4))


def test_soft_labels_names_are_texts_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soft_labels.NAMES", 2)
    people = ["Ann Lee", "Bob", "Carl"]
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"PER": people, "LOC": ["Oslo"]}), "utf8")
    chosen = choose_names(path, random.Random(0))
    assert len(chosen) == 3
    assert "Oslo" in chosen
    assert {*chosen} - {"Oslo"} < {*people}


def labelled_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf8") for path in folder.glob("*.safetensors")}


def test_soft_labels_of_the_same_run_are_kept(tmp_path: Path) -> None:
    begin(tmp_path, {"texts": "first"})
    (tmp_path / "000.safetensors").write_text("labels", "utf8")
    begin(tmp_path, {"texts": "first"})
    assert labelled_files(tmp_path) == {"000.safetensors": "labels"}


@pytest.mark.parametrize("note", ['{"texts": "first"}', '{"tex', None])
def test_soft_labels_of_another_run_are_made_anew(
    tmp_path: Path, note: str | None
) -> None:
    if note is not None:
        (tmp_path / "run.json").write_text(note, "utf8")
    for name in ("000.safetensors", "001.safetensors", "model.safetensors"):
        (tmp_path / name).write_text("labels", "utf8")
    begin(tmp_path, {"texts": "second"})
    # a file of another name is none of its labels
    assert labelled_files(tmp_path) == {"model.safetensors": "labels"}
    (tmp_path / "000.safetensors").write_text("labels", "utf8")
    begin(tmp_path, {"texts": "second"})
    assert "000.safetensors" in labelled_files(tmp_path)


def test_soft_labels_runs_differ_by_texts_and_model(tmp_path: Path) -> None:
    config = ["[nlp]", 'pipeline = ["ner"]', "[components]", "[components.ner]"]
    config.append('factory = "padellm_ner"')
    (tmp_path / "config.cfg").write_text("\n".join(config), "utf8")
    (tmp_path / "weights").write_text("old", "utf8")
    first = run_of(str(tmp_path), TEXTS)
    assert run_of(str(tmp_path), TEXTS) == first
    assert run_of(str(tmp_path), TEXTS[:1]) != first
    (tmp_path / "weights").write_text("new", "utf8")
    assert run_of(str(tmp_path), TEXTS) != first


def test_soft_labels_command_replaces_those_of_other_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[str]] = []

    def write(path: Path, task: object, texts: list[str]) -> None:
        written.append(sorted(texts))
        path.write_text("labels", "utf8")

    monkeypatch.setattr("soft_labels.load_task", lambda name: None)
    monkeypatch.setattr("soft_labels.write_labels", write)
    source = tmp_path / "texts"
    source.mkdir()
    options = ["--texts", str(source), "--limit", "9", "--total", "9"]
    arguments = ["soft_labels.py", "bundled-en-sm", str(tmp_path / "out"), *options]
    monkeypatch.setattr("sys.argv", arguments)
    sentences = [f"This is sentence number {n} of the file." for n in range(2)]
    for sentence in sentences:
        (source / "a.txt").write_text(sentence, "utf8")
        soft_labels.main()
        soft_labels.main()
    assert written == [[sentence] for sentence in sentences]
