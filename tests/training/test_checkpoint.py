"""A run that was stopped and started again is the run without the stop."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import (
    GOLD,
    NAME,
    TEXT,
    entities,
    gold_examples,
    initialised,
    pipe_of,
    same_weights,
    trained,
    weights_of,
    without_settings,
)
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacy_train
from spacy.util import load_config
from spacy.vocab import Vocab

from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.training.checkpoint import FILE_NAME, _write, make_checkpoints
from spacy_padellm.training.run_identity import run_of as run_of_pipeline

CONFIG = Path(__file__).parents[2] / "configs" / "finetune.cfg"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    docs = [example.reference for example in gold_examples(initialised())]
    path = tmp_path / "corpus.spacy"
    DocBin(docs=docs).to_disk(path)
    (tmp_path / "base").mkdir()
    without_settings(tmp_path / "base")
    return path


def run(
    corpus: Path,
    checkpoint: Path,
    *,
    steps: int,
    rate: float = 0.01,
    output: Path | None = None,
    **more: Any,
) -> Language:
    """Train by the config; a checkpoint is written before each step but the first."""
    nlp = prepare(corpus, checkpoint, steps=steps, rate=rate, **more)
    spacy_train(nlp, output, stdout=sys.stdout)
    return nlp


def pipe_and_callback(
    corpus: Path, checkpoint: Path
) -> tuple[Language, Callable[[Language, dict[str, Any]], None]]:
    """A pipeline, and the callback that writes its checkpoints."""
    nlp = prepare(corpus, checkpoint, steps=6)
    return nlp, make_checkpoints(str(checkpoint), minutes=0)


def prepare(
    corpus: Path, checkpoint: Path, *, steps: int, rate: float = 0.01, **more: Any
) -> Language:
    """Initialize a training by the config."""
    overrides = {
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "paths.checkpoint": str(checkpoint),
        "components.padellm_ner.model.name": str(corpus.parent / "base"),
        "components.padellm_ner.model.dtype": "bfloat16",
        "components.padellm_ner.model.device": "cpu",
        "training.max_steps": steps - 1,  # spaCy makes one step more
        "training.optimizer.learn_rate.total_steps": 10,
        "training.optimizer.learn_rate.initial_rate": rate,
        "training.batcher.size": 2,
        "training.before_update.minutes": 0,
        **more,
    }
    return init_nlp(load_config(CONFIG, overrides=overrides))


def test_checkpoint_stopped_run_is_the_run_without_a_stop(
    corpus: Path, tmp_path: Path
) -> None:
    whole = run(corpus, tmp_path / "whole", steps=6)
    stopped = run(corpus, tmp_path / "stopped", steps=4)
    continued = run(corpus, tmp_path / "stopped", steps=6)
    expected = weights_of(whole)
    for found, same in ((weights_of(stopped), False), (weights_of(continued), True)):
        assert same_weights(found, expected) == same
    assert pipe_of(continued).labels == pipe_of(whole).labels
    assert pipe_of(continued).handle.lm().tags == pipe_of(whole).handle.lm().tags


def test_checkpoint_continued_run_keeps_the_tags_of_texts_before_the_stop(
    corpus: Path, tmp_path: Path
) -> None:
    # each text has a label of its own, and both names begin with the same token
    docs = [Doc(Vocab(), ["Anna", "met", "Bob"]) for _ in range(2)]
    for doc, label in zip(docs, ("name a", "name b"), strict=True):
        doc.set_ents([Span(doc, 0, 1, label)])
        doc.user_data["padellm_labels"] = [label]
    DocBin(docs=docs, store_user_data=True).to_disk(corpus)
    settings = {"training.batcher.size": 1, "components.padellm_ner.labels": {}}
    whole = run(corpus, tmp_path / "whole", steps=3, **settings)
    run(corpus, tmp_path / "stopped", steps=2, **settings)
    continued = run(corpus, tmp_path / "stopped", steps=3, **settings)
    tags = pipe_of(whole).handle.lm().tags
    assert len(tags.inside) == 2
    assert pipe_of(continued).handle.lm().tags == tags
    trained = [pipe_of(nlp)._task.trained_labels for nlp in (whole, continued)]
    assert trained[0] == trained[1]


def test_checkpoint_continued_run_draws_the_random_numbers_after_the_stop(
    corpus: Path, tmp_path: Path
) -> None:
    pipe = pipe_of(run(corpus, tmp_path, steps=3))
    state = pipe.get_training_state()
    assert state is not None
    expected = torch.rand(3)
    pipe.set_training_state(state)
    assert torch.equal(torch.rand(3), expected)


def test_checkpoint_skipped_steps_are_neither_evaluated_nor_shown(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    often = {"training.eval_frequency": 1}
    run(corpus, tmp_path, steps=4, **often)
    whole = capsys.readouterr().out
    run(corpus, tmp_path, steps=6, **often)
    continued = capsys.readouterr().out
    steps = [re.findall(r"^ +\d+ +(\d+) ", out, re.M) for out in (whole, continued)]
    assert steps == [["0", "1", "2", "3"], ["3", "4", "5"]]


def test_checkpoint_skipped_steps_leave_docs_alone() -> None:
    nlp = trained()
    pipe_of(nlp).skips_step = True
    assert not nlp(TEXT).ents
    assert [doc.ents for doc in nlp.pipe([TEXT])] == [()]


def test_checkpoint_of_another_config_is_an_error(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path, steps=3)
    with pytest.raises(ValueError, match=r"others: .*learn_rate\.initial_rate\."):
        run(corpus, tmp_path, steps=3, rate=0.02)


def test_checkpoint_of_other_texts_is_an_error(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "run", steps=3)
    docs = list(DocBin().from_disk(corpus).get_docs(Vocab()))
    DocBin(docs=docs[1:]).to_disk(corpus)
    with pytest.raises(
        ValueError, match=r"others: the files of corpora\.train\.path\."
    ):
        run(corpus, tmp_path / "run", steps=3)


def test_checkpoint_of_another_base_model_is_an_error(
    corpus: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path / "run", steps=3)
    weights = corpus.parent / "base" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"others: the files of .*\.model\.name\."):
        run(corpus, tmp_path / "run", steps=3)


def test_checkpoint_files_that_are_not_trained_on_do_not_matter(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    shutil.copy(corpus, folder)
    settings = {"paths.train": str(folder)}
    run(corpus, tmp_path / "run", steps=3, **settings)
    (folder / ".DS_Store").write_bytes(b"x")
    (corpus.parent / "base" / "run.log").write_text("Notes.")
    run(corpus, tmp_path / "run", steps=4, **settings)
    assert "Continues at step 2" in capsys.readouterr().out


def test_checkpoint_of_other_labels_to_learn_is_an_error(
    corpus: Path, tmp_path: Path
) -> None:
    names = [{NAME: {"new_labels": {"DRUG": name}}} for name in ("drug", "medicine")]
    settings = [{"initialize.components": name} for name in names]
    run(corpus, tmp_path / "run", steps=3, **settings[0])
    with pytest.raises(ValueError, match=r"others: .*new_labels\.DRUG\."):
        run(corpus, tmp_path / "run", steps=3, **settings[1])


def test_checkpoint_of_a_sourced_component_needs_no_folder_of_its_base(
    corpus: Path, tmp_path: Path
) -> None:
    initialised().to_disk(tmp_path / "pipeline")
    config = tmp_path / "pipeline" / "config.cfg"
    settings = load_config(config)
    settings["components"][NAME]["model"] = {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": str(tmp_path / "gone" / "model"),
    }
    settings.to_disk(config)
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, source=spacy.load(tmp_path / "pipeline"))
    assert f"components.{NAME}.model.name" in run_of_pipeline(nlp)["files"]


@pytest.mark.parametrize(("total", "fits"), [(10, True), (None, False)])
def test_checkpoint_more_steps_fit_if_the_learning_rate_does_not_depend_on_them(
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    total: int | None,
    fits: bool,
) -> None:
    settings = {"training.optimizer.learn_rate.total_steps": total}
    run(corpus, tmp_path, steps=4, **settings)
    with nullcontext() if fits else pytest.raises(ValueError, match="max_steps"):
        run(corpus, tmp_path, steps=5, **settings)
    assert ("Continues at step 3" in capsys.readouterr().out) == fits


def test_checkpoint_after_the_last_step_is_an_error(
    corpus: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, steps=6)
    with pytest.raises(ValueError, match=r"of step 5, but max_steps .* is 4\. Set"):
        run(corpus, tmp_path, steps=5)


def test_checkpoint_of_texts_in_any_order_is_an_error(
    corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"Set seed in \[training\] to a number"):
        run(corpus, tmp_path, steps=2, **{"system.seed": None})


def test_checkpoint_with_patience_is_not_continued(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(corpus, tmp_path, steps=4, **{"training.patience": 100})
    with pytest.raises(ValueError, match=r"Continue it with --training\.patience 0"):
        run(corpus, tmp_path, steps=5, **{"training.patience": 100})
    run(corpus, tmp_path, steps=5)
    assert "Continues at step 3" in capsys.readouterr().out


def test_checkpoint_is_not_written_before_the_first_annotated_text(
    corpus: Path, tmp_path: Path
) -> None:
    blank = Doc(Vocab(), [" "])
    blank.set_ents([])
    DocBin(docs=[blank] * 4).to_disk(corpus)
    run(corpus, tmp_path / "run", steps=3)
    assert not [*(tmp_path / "run").iterdir()]


def test_checkpoint_of_another_decoder_setting_is_continued(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(corpus, tmp_path, steps=3)
    file = tmp_path / FILE_NAME
    stored = torch.load(file, weights_only=True)
    component = stored["run"]["components"]["padellm_ner"]
    component["decoder"]["max_batch_tokens"] = 512
    component["of_another_version"] = True
    torch.save(stored, file)
    run(corpus, tmp_path, steps=4)
    assert "Continues at step 2" in capsys.readouterr().out


def test_checkpoint_corrupt_file_is_an_error(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"cut of")
    with pytest.raises(ValueError, match="is damaged"):
        run(corpus, tmp_path, steps=2)


@pytest.mark.parametrize(
    "content",
    [
        *(5, [], {"run": "x"}),
        *({"run": run, "step": 1, "training": {}} for run in ("x", 5, "{}")),
    ],
)
def test_checkpoint_of_something_else_is_an_error(
    corpus: Path, tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match="is damaged"):
        run(corpus, tmp_path, steps=2)


@pytest.mark.parametrize(
    "part",
    [{"step": "x"}, {"training": 5}, {"training": {}}, {"training": {"weights": 5}}],
)
def test_checkpoint_with_a_part_of_something_else_is_an_error(
    corpus: Path, tmp_path: Path, part: dict[str, Any]
) -> None:
    run(corpus, tmp_path, steps=2)
    stored = torch.load(tmp_path / FILE_NAME, weights_only=True)
    torch.save({**stored, **part}, tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match="is damaged"):
        run(corpus, tmp_path, steps=4)


def test_checkpoint_never_runs_a_pickle(corpus: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"run": Payload(trace)}, tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match="is damaged"):
        run(corpus, tmp_path, steps=2)
    assert not trace.exists()


class Payload:
    """A pickle that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def test_checkpoint_no_part_of_a_file_is_left(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "run", steps=3)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE_NAME]


def test_checkpoint_is_on_the_disk_before_it_replaces_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / FILE_NAME
    written: list[tuple[int, int, bool]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        written.append((status.st_ino, status.st_size, file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    _write(file, {"step": 1})
    assert written == [(file.stat().st_ino, file.stat().st_size, False)]
    assert torch.load(file) == {"step": 1}


@pytest.mark.parametrize("place", ["file/run", "folder"])
def test_checkpoint_that_cannot_be_used_is_an_error_before_the_training(
    place: str, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
    best = save_best(tmp_path)
    with pytest.raises(ValueError, match=r"Cannot use .*--paths\.checkpoint FOLDER"):
        run(corpus, tmp_path / place, steps=2, output=tmp_path)
    assert best.is_dir()


@pytest.mark.parametrize("full", ["training.part", None])
def test_checkpoint_that_cannot_be_written_keeps_the_one_before(
    full: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / FILE_NAME
    _write(file, {"step": 1})
    if full:  # writing fails, or else the disk at the end of it
        if not Path("/dev/full").exists():
            pytest.skip("no disk that is full")
        (tmp_path / full).symlink_to("/dev/full")
    else:
        monkeypatch.setattr(os, "fsync", no_room)
    state = {"step": 2, "weights": torch.zeros(100_000)}
    with pytest.raises(ValueError, match=r"of step 2 .*the disk is full .*Free room"):
        _write(file, state)
    assert torch.load(file) == {"step": 1}
    assert [*tmp_path.iterdir()] == [file]


def test_checkpoint_that_is_too_large_names_the_limit(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    state = {"step": 2, "weights": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"training\.pt: the limit on the size of"):
            _write(tmp_path / FILE_NAME, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [*tmp_path.iterdir()]


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_checkpoint_that_may_not_be_read_is_not_said_to_be_damaged(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / FILE_NAME).touch()
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(ValueError, match=r"Cannot use .*: Permission denied\. Give"):
        run(corpus, tmp_path, steps=2)


def test_checkpoint_of_a_component_of_another_name_costs_no_model(
    corpus: Path, tmp_path: Path
) -> None:
    best = save_best(tmp_path)
    other = {"training.before_update.component": "places"}
    with pytest.raises(ValueError, match=r"'places'.* Set component = \"padellm_ner\""):
        run(corpus, tmp_path / "run", steps=2, output=tmp_path, **other)
    assert best.is_dir()


def test_checkpoint_unknown_component_is_an_error() -> None:
    make = spacy.registry.callbacks.get("spacy-padellm.checkpoints.v1")
    nlp = spacy.blank("en")
    with pytest.raises(KeyError, match=NAME):
        make("unused")(nlp, {"step": 0, "epoch": 0})


# Before the training


def save_best(folder: Path) -> Path:
    """A trained pipeline where spaCy saves it."""
    trained().to_disk(folder / "model-best")
    return folder / "model-best" / NAME / "model"


def test_checkpoint_that_is_refused_costs_no_model(
    corpus: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, steps=2)
    save_best(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"belongs to another run.*training\.seed"):
        run(corpus, tmp_path, steps=2, output=tmp_path, **{"training.seed": 5})
    for path, content in files.items():
        assert path.read_bytes() == content


def test_checkpoint_model_in_the_output_folder_can_be_trained(
    corpus: Path, tmp_path: Path
) -> None:
    settings = {
        "components.padellm_ner.model.name": str(save_best(tmp_path)),
        "components.padellm_ner.labels": {},
        "components.padellm_ner.prompt": None,
        "components.padellm_ner.training.tag_loss": 0,
        "training.optimizer.learn_rate.initial_rate": 1e-6,
    }
    run(corpus, tmp_path / "checkpoint", steps=2, output=tmp_path, **settings)
    assert entities(spacy.load(tmp_path / "model-last")(TEXT)) == GOLD[TEXT]


def test_checkpoint_of_another_training_at_once_is_warned_of(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = (
        pipe_and_callback(corpus, tmp_path / "checkpoint") for _ in range(2)
    )
    for nlp, before_update in (ours, theirs):
        before_update(nlp, {"step": 0})
        nlp.update(gold_examples(nlp), sgd=nlp.create_optimizer())
    ours[1](ours[0], {"step": 1})
    ours[1](ours[0], {"step": 2})
    assert "was changed since" not in caplog.text
    theirs[1](theirs[0], {"step": 1})
    assert "was changed since this training wrote it" in caplog.text


def test_checkpoint_that_is_refused_does_not_matter_without_a_training(
    corpus: Path, tmp_path: Path
) -> None:
    nlp = run(corpus, tmp_path, steps=2)
    nlp.config["training"]["seed"] = 5
    nlp.initialize(lambda: gold_examples(nlp))
    assert nlp(TEXT).text == TEXT


def test_checkpoint_of_a_model_in_the_output_folder_can_be_continued(
    corpus: Path, tmp_path: Path
) -> None:
    settings = {
        "components.padellm_ner.model.name": str(save_best(tmp_path)),
        "components.padellm_ner.labels": {},
        "components.padellm_ner.prompt": None,
        "components.padellm_ner.training.tag_loss": 0,
    }
    checkpoint = tmp_path / "checkpoint"
    run(corpus, checkpoint, steps=3, output=tmp_path, **settings)
    shutil.rmtree(tmp_path / "model-best")
    save_best(tmp_path)
    # the same command, with the same model
    run(corpus, checkpoint, steps=4, output=tmp_path, **settings)


def test_checkpoint_of_a_training_with_patience_is_warned_of(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(corpus, tmp_path, steps=1, **{"training.patience": 5})
    assert "cannot be continued from its checkpoints" in caplog.text


def test_checkpoint_state_resets_the_tuning(corpus: Path, tmp_path: Path) -> None:
    pipe = pipe_of(run(corpus, tmp_path, steps=3))
    state = pipe.get_training_state()
    assert state is not None
    pipe.set_tuning(Tuning({"PER": 0.9}))
    pipe.set_training_state(state)
    assert pipe.tuning == Tuning()
