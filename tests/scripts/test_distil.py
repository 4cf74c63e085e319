"""The training of a small model on soft labels (scripts/distil.py)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distil import (
    Labelled,
    Run,
    changes,
    identity_of,
    passes,
    plant_mentions,
    read_labels,
    train,
)
from small_base import make_small
from soft_labels import load_task, write_labels
from spacy.language import Language
from spacy.util import load_config, load_model_from_config, registry

from spacy_padellm.tree.token_tree import pad_trees

ROOT = Path(__file__).parents[2]
TEXTS = ["Angela Merkel met Emmanuel Macron in Paris.", "Nobody was there."]


def labelled(text: str, starts: list[int], tags: torch.Tensor) -> Labelled:
    """A text with tags of one label: none, begin, inside."""
    return Labelled(text, np.array(starts, "int32"), tags.half(), torch.zeros(1, 10))


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft labels by the bundled model, and a small model beside them."""
    folder = tmp_path_factory.mktemp("labels")
    task = load_task("bundled-en")
    write_labels(folder / "000.safetensors", task, TEXTS)
    torch.manual_seed(0)
    make_small(task.lm.tokenizer).save_pretrained(folder / "small")
    task.lm.tokenizer.save_pretrained(folder / "small")
    return folder


def make_nlp(model: Path, *, rate: float = 0.01) -> Language:
    """A pipeline with the small model, to be trained."""
    overrides: dict[str, Any] = {
        "paths.model": str(model),
        "components.padellm_ner.model.dtype": "float32",
        "training.optimizer.learn_rate": rate,
    }
    config = load_config(ROOT / "configs/distil.cfg", overrides=overrides)
    return load_model_from_config(config, auto_fill=True)


def make_run(labels: Path, checkpoint: Path, *, seed: int = 0) -> Run:
    """A run that trains the small model."""
    nlp = make_nlp(labels / "small")
    names, _ = read_labels(labels)
    optimizer = registry.resolve({"optimizer": nlp.config["training"]["optimizer"]})
    identity = identity_of(nlp, labels, seed=seed)
    torch.manual_seed(0)
    pipe: Any = nlp.get_pipe("padellm_ner")
    return Run.of(pipe, names, checkpoint=checkpoint, identity=identity, **optimizer)


def test_distil_tags_of_equal_tokens_are_those_of_the_large_model() -> None:
    tags = torch.eye(3)
    text = labelled("Ann Lee left", [0, 3, 7], tags)
    assert torch.equal(text.tags_of([(0, 3), (3, 7), (7, 12)]), tags)


def test_distil_later_parts_of_a_large_token_are_inside() -> None:
    text = labelled("Berlin!", [0, 6], torch.tensor([[0.1, 0.7, 0.2], [1, 0, 0]]))
    tags = text.tags_of([(0, 3), (3, 6), (6, 7)])
    wanted = torch.tensor([[0.1, 0.7, 0.2], [0.1, 0, 0.9], [1, 0, 0]])
    torch.testing.assert_close(tags, wanted, atol=1e-3, rtol=0)


def test_distil_a_token_over_several_large_ones_takes_the_first() -> None:
    text = labelled("Berlin", [0, 3], torch.eye(3)[1:])
    assert torch.equal(text.tags_of([(0, 6)]), torch.eye(3)[1:2])


def test_distil_capitals_keep_the_tags_of_the_text() -> None:
    text = labelled("Ann Lee left", [0, 3, 7], torch.eye(3))
    capitals = text.in_capitals()
    assert capitals.text == "ANN LEE LEFT"
    assert torch.equal(capitals.tags_of([(0, 3), (3, 7), (7, 12)]), torch.eye(3))


def test_distil_a_text_with_longer_capitals_stays() -> None:
    text = labelled("in der Gaßner Straße", [0], torch.eye(3)[:1])
    assert text.in_capitals() is text


def test_distil_passes_hold_all_texts_and_the_limit() -> None:
    texts = [labelled("a", list(range(n)), torch.eye(3)) for n in (30, 5, 40, 12)]
    parts = list(passes(texts, 100))
    assert sorted(len(t.starts) for part in parts for t in part) == [5, 12, 30, 40]
    for part in parts:
        assert len(part) == 1 or len(part) * max(len(t.starts) for t in part) <= 100


def test_distil_training_comes_nearer_to_the_labels(
    labels: Path, tmp_path: Path
) -> None:
    run = make_run(labels, tmp_path / "checkpoint.pt")
    _, texts = read_labels(labels)
    first = run.step(texts)
    for _ in range(8):
        last = run.step(texts)
    assert last < first / 3


@pytest.mark.slow
def test_distil_a_stopped_run_ends_like_one_that_was_not(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, texts = read_labels(labels)
    monkeypatch.setattr("distil.SAVED", 2)
    whole = make_run(labels, tmp_path / "whole.pt")
    train(whole, texts, steps=4, seed=0)
    train(make_run(labels, tmp_path / "stopped.pt"), texts, steps=2, seed=0)
    resumed = make_run(labels, tmp_path / "stopped.pt")
    train(resumed, texts, steps=4, seed=0)
    assert whole.updates.masters is not None
    assert resumed.updates.masters is not None
    named = resumed.updates.masters.named()
    for name, weight in whole.updates.masters.named().items():
        torch.testing.assert_close(named[name], weight)


def test_distil_a_run_of_another_seed_is_not_continued(
    labels: Path, tmp_path: Path
) -> None:
    run = make_run(labels, tmp_path / "checkpoint.pt")
    run.save(1)
    assert run.resume() == 1
    other = make_run(labels, tmp_path / "checkpoint.pt", seed=1)
    with pytest.raises(SystemExit, match=r"\(seed\).*delete checkpoint\.pt"):
        other.resume()


def test_distil_runs_differ_by_their_rate_labels_and_model(
    labels: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "labels"
    shutil.copytree(labels, folder)
    first = identity_of(make_nlp(folder / "small"), folder, seed=0)
    moved = identity_of(make_nlp(labels / "small"), labels, seed=0)
    assert changes(first, moved) == []
    faster = identity_of(make_nlp(folder / "small", rate=0.02), folder, seed=0)
    assert changes(first, faster) == ["training.optimizer.learn_rate"]
    path = folder / "000.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    assert changes(first, identity_of(make_nlp(folder / "small"), folder, seed=0)) == [
        "labels"
    ]
    shutil.copy(path, folder / "small" / "model.safetensors")
    (changed,) = set(
        changes(first, identity_of(make_nlp(folder / "small"), folder, seed=0))
    ) - {"labels"}
    assert changed == "the files of components.padellm_ner.model.name"


def test_distil_reads_the_mentions_that_the_tags_show(
    labels: Path, tmp_path: Path
) -> None:
    task = make_run(labels, tmp_path / "checkpoint.pt").task
    _, texts = read_labels(labels)
    text = next(text for text in texts if text.text == TEXTS[0])
    (planted,) = task.plant([text.text])
    (offsets,) = task.prompt.strings.offsets([text.text])
    size = planted.tree.filled
    written = plant_mentions(task, text.text, planted, text.tags_of(offsets))
    strings, mention = [], []
    for _, token in written:
        if token == task.prompt.eos:
            strings.append(task.prompt.strings.decode(mention).strip())
            mention = []
        else:
            mention.append(token)
    assert sorted(strings) == ["Angela Merkel", "Emmanuel Macron", "Paris"]
    assert planted.tree.filled > size


@pytest.mark.slow
def test_distil_a_mention_is_written_token_by_token(
    labels: Path, tmp_path: Path
) -> None:
    run = make_run(labels, tmp_path / "checkpoint.pt")
    _, texts = read_labels(labels)
    for _ in range(60):
        run.step(texts)
    lm = run.task.lm
    lm.set_training(False)
    (planted,) = run.task.plant([TEXTS[0]])
    (offsets,) = run.task.prompt.strings.offsets([TEXTS[0]])
    text = next(text for text in texts if text.text == TEXTS[0])
    written = plant_mentions(run.task, TEXTS[0], planted, text.tags_of(offsets))
    slots, tokens = zip(*written, strict=True)
    logits, _ = lm.logits(pad_trees([planted.tree]), slots)
    assert logits.argmax(-1).tolist() == list(tokens)
