"""The component under spaCy's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from helpers import (
    NAME,
    gold_doc,
    gold_examples,
    make_nlp,
    pipe_of,
    trained,
    trained_folder,
)
from spacy.cli.find_threshold import find_threshold
from spacy.cli.train import train as spacy_train
from spacy.tokens import DocBin
from spacy.util import load_config


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
