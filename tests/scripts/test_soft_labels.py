"""What a trained model thinks of texts (scripts/soft_labels.py)."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from soft_labels import (
    COUNTS,
    Task,
    choose_names,
    choose_texts,
    load_task,
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
