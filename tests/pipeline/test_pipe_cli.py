"""The component under spaCy's own commands."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import spacy
from conftest import make_lm
from helpers import (
    NAME,
    TAGGING,
    gold_doc,
    gold_examples,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    trained,
    trained_folder,
)
from spacy.cli._util import app
from spacy.cli.find_threshold import find_threshold
from spacy.cli.train import train as spacy_train
from spacy.tokens import DocBin
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_padellm.lm.handle.handle import ModelHandle


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    nlp = trained()
    docs = [example.reference for example in gold_examples(nlp)]
    docs.append(nlp.make_doc("Not annotated ."))
    docs.append(gold_doc(nlp, "\n", []))
    DocBin(docs=docs).to_disk(tmp_path / "corpus.spacy")
    return tmp_path / "corpus.spacy"


@pytest.fixture
def output(corpus: Path, tmp_path: Path) -> Path:
    """What `spacy train` wrote after a few steps."""
    make_nlp().config.to_disk(tmp_path / "config.cfg")
    settings = {
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "training.max_steps": 4,
        "training.eval_frequency": 2,
        "training.accumulate_gradient": 2,
    }
    spacy_train(tmp_path / "config.cfg", tmp_path / "out", overrides=settings)
    return tmp_path / "out"


def test_component_cli_train_saves_a_pipeline_that_works(output: Path) -> None:
    nlp = spacy.load(output / "model-last")
    assert nlp("Bob met Anna .").has_annotation("ENT_IOB")
    assert pipe_of(nlp).labels == ("LOC", "ORG", "PER")


def test_component_cli_train_reports_the_scores(output: Path) -> None:
    performance = spacy.load(output / "model-best").meta["performance"]
    assert {"ents_f", "strings_f", f"{NAME}_loss"} <= performance.keys()


def test_component_cli_train_config_can_be_used_again(output: Path) -> None:
    config = load_config(output / "model-last" / "config.cfg")
    assert config["components"][NAME]["factory"] == NAME


def test_component_cli_find_threshold_tries_thresholds(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, score, scores = find_threshold(
        str(trained_folder()),
        corpus,
        pipe_name=NAME,
        threshold_key="threshold",
        scores_key="ents_f",
        n_trials=3,
    )
    # of thresholds 0, 0.5 and 1 the last leaves no entity
    assert list(scores) == [0.0, 0.5, 1.0]
    assert scores[0.0] > 0.8 > scores[1.0] == 0
    assert best == max(scores, key=lambda threshold: scores[threshold])
    assert score == scores[best]


# A mistake in the config costs no trained model

PREFIX_LM = TAGGING["prompt"]
TAG_LOSS = TAGGING["training"]


def lora(**settings: Any) -> dict[str, Any]:
    pytest.importorskip("peft")
    return {"model": named(model_folder(), model={"lora": settings})}


def truncated(folder: Path) -> dict[str, Any]:
    shutil.copytree(model_folder(), folder / "base")
    weights = folder / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return {"model": named(folder / "base")}


def without_trees(folder: Path) -> dict[str, Any]:
    lm = make_lm("mpt")
    lm.model.save_pretrained(folder / "base")
    lm.tokenizer.save_pretrained(folder / "base")
    return {"model": named(folder / "base"), "prompt": PREFIX_LM}


MISTAKES = {
    "LoRA settings are not valid.*rank": lambda _: lora(rank=2),
    "LoRA settings are not valid.*nowhere": lambda _: lora(target_modules=["nowhere"]),
    "Set prefix_lm = true": lambda _: {"training": TAG_LOSS},
    "Set prefix_lm = false": without_trees,
    "are corrupt": truncated,
}


@pytest.mark.parametrize(
    "message", [*MISTAKES, r"no file .*nowhere\.spacy.*paths\.dev"]
)
def test_component_cli_train_with_a_mistake_costs_no_model(
    message: str, corpus: Path, tmp_path: Path
) -> None:
    for name in ("model-best", "model-last"):
        shutil.copytree(trained_folder(), tmp_path / "out" / name)
    before = contents(tmp_path / "out")
    config = MISTAKES[message](tmp_path) if message in MISTAKES else {}
    nlp = make_nlp(**{"training": {**TAG_LOSS, "tag_loss": None}, **config})
    nlp.config.to_disk(tmp_path / "config.cfg")
    dev = corpus if message in MISTAKES else tmp_path / "nowhere.spacy"
    settings = {"paths.train": str(corpus), "paths.dev": str(dev)}
    with pytest.raises(ValueError, match=message):
        spacy_train(tmp_path / "config.cfg", tmp_path / "out", overrides=settings)
    assert contents(tmp_path / "out") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "done"),
    [
        (["init", "labels", "{config}", "{output}"], "Saving label data"),
        (["debug", "data", "{config}"], "Pipeline can be initialized with data"),
    ],
)
def test_component_cli_other_commands_load_no_weights(
    command: list[str],
    done: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("it loads a model")

    trained().config.to_disk(tmp_path / "config.cfg")
    monkeypatch.setattr(ModelHandle, "lm", refuse)
    monkeypatch.setattr(ModelHandle, "trainable", refuse)
    paths = {"config": tmp_path / "config.cfg", "output": tmp_path / "labels"}
    arguments = [part.format(**paths) for part in command]
    files = ["--paths.train", str(corpus), "--paths.dev", str(corpus)]
    result = CliRunner().invoke(app, [*arguments, *files])
    assert done in result.output
