"""Models by a hub name, out of the hub's cache on this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import spacy
from helpers import (
    GOLD,
    LABELS,
    TEXT,
    entities,
    gold_examples,
    make_nlp,
    named,
    pipe_of,
    trained_folder,
)
from spacy.language import Language

from spacy_padellm.mention.calibration import Tuning

HUB_NAME = "some-one/some-model"
THRESHOLDS = {"PER": 0.2, "LOC": 0.3, "ORG": 0.4}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The trained model as if it had been fetched, with thresholds."""
    repository = tmp_path / "hub" / "models--some-one--some-model"
    snapshot = repository / "snapshots" / "abc"
    shutil.copytree(trained_folder() / "padellm_ner" / "model", snapshot)
    settings = json.loads((snapshot / "padellm.json").read_text("utf8"))
    settings["thresholds"] = THRESHOLDS
    (snapshot / "padellm.json").write_text(json.dumps(settings), "utf8")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc", "utf8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in (
        "transformers.utils.hub.TRANSFORMERS_CACHE",
        "huggingface_hub.constants.HF_HUB_CACHE",
    ):
        monkeypatch.setattr(name, str(tmp_path / "hub"), raising=False)


@pytest.fixture
def nlp(hub: None) -> Language:
    return make_nlp(model=named(HUB_NAME))


def test_component_hub_model_brings_its_labels_and_prompt(nlp: Language) -> None:
    assert entities(nlp(TEXT)) == GOLD[TEXT]
    assert set(pipe_of(nlp).labels) == set(THRESHOLDS)


def test_component_hub_thresholds_outlast_new_labels(nlp: Language) -> None:
    pipe = pipe_of(nlp)
    nlp("load")
    assert pipe.threshold == THRESHOLDS
    pipe.set_labels(["PER", "LOC"])
    assert pipe.threshold == THRESHOLDS


def test_component_hub_thresholds_are_replaced_by_tuned_ones(
    nlp: Language,
) -> None:
    pipe = pipe_of(nlp)
    pipe.set_tuning(Tuning({"PER": 0.9}))
    nlp(TEXT)
    assert pipe.threshold == {"PER": 0.9}


def test_component_hub_model_is_saved_with_its_labels(
    nlp: Language, tmp_path: Path
) -> None:
    nlp.to_disk(tmp_path / "nlp")
    cfg = json.loads((tmp_path / "nlp/padellm_ner/cfg").read_text("utf8"))
    assert set(cfg["labels"]) == set(THRESHOLDS)
    again = spacy.load(tmp_path / "nlp")
    assert pipe_of(again).threshold == THRESHOLDS


def test_component_hub_labels_are_known_before_the_first_text(hub: None) -> None:
    nlp, other = make_nlp(model=named(HUB_NAME)), make_nlp(model=named(HUB_NAME))
    pipe_of(nlp).set_labels(["PER"])
    assert entities(nlp(TEXT)) == [pair for pair in GOLD[TEXT] if pair[1] == "PER"]
    pipe_of(other).add_label("MED")
    assert set(pipe_of(other).labels) == {*THRESHOLDS, "MED"}


def test_component_hub_client_of_a_server_saves_no_weights(
    hub: None, tmp_path: Path
) -> None:
    server = {"@misc": "spacy-padellm.ServerDecoder.v1", "base_url": "http://no/v1"}
    make_nlp(model=named(HUB_NAME), decoder=server).to_disk(tmp_path / "nlp")
    model = tmp_path / "nlp" / "padellm_ner" / "model"
    assert not list(model.glob("*.safetensors"))
    pipe = pipe_of(spacy.load(tmp_path / "nlp"))
    assert set(pipe.labels) == set(THRESHOLDS)
    assert pipe.prompt is not None
    assert pipe.handle.client_tokens(pipe.prompt).tokenizer.is_fast


def test_component_hub_is_not_asked_for_bytes_without_the_model() -> None:
    pipe = pipe_of(make_nlp(model=named("no-one/no-model")))
    assert pipe.from_bytes(pipe.to_bytes(exclude=["model"]), exclude=["model"]) is pipe


@pytest.mark.parametrize("labels", [None, ["PER"]])
def test_component_hub_labels_are_known_when_it_is_initialized(
    nlp: Language, labels: list[str] | None
) -> None:
    # one text has no LOC, and none has the model's names
    examples = gold_examples(nlp, {"Bob left .": [("Bob", "PER")]})
    pipe_of(nlp).initialize(lambda: examples, labels=labels)
    assert pipe_of(nlp).label_data == {k: LABELS[k] for k in labels or LABELS}
