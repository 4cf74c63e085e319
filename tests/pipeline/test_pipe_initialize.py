"""A second `nlp.initialize`: models from scratch are made anew, others go on."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import spacy
import torch
from helpers import (
    NAME,
    gold_examples,
    initialised,
    make_nlp,
    pipe_of,
    same_weights,
    train,
    trained,
    weights_of,
)
from spacy.language import Language

from spacy_padellm.mention.calibration import Tuning

WARNING = "is not made anew"


def initialize(nlp: Language, *, seed: int = 0) -> Language:
    torch.manual_seed(seed)
    examples = gold_examples(nlp)
    nlp.initialize(lambda: examples)
    return nlp


def test_component_initialize_makes_a_trained_model_from_scratch_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = initialised()
    first = weights_of(nlp)
    train(nlp, steps=2)
    assert not same_weights(weights_of(nlp), first)
    assert same_weights(weights_of(initialize(nlp)), first)
    assert WARNING not in caplog.text


def test_component_initialize_again_draws_other_weights_by_another_seed() -> None:
    nlp = initialised()
    first = weights_of(nlp)
    assert not same_weights(weights_of(initialize(nlp, seed=1)), first)


def test_component_initialize_again_trains_as_the_first_time() -> None:
    nlp = initialised()
    losses = train(nlp, steps=3)
    assert train(initialize(nlp), steps=3) == losses


def test_component_initialize_again_learns_the_vocabulary_of_the_new_texts() -> None:
    nlp = initialised()
    train(nlp, steps=1)
    gold = {f"Zorbulax met Zorbulax {i} .": [("Zorbulax", "PER")] for i in "abc"}
    examples = gold_examples(nlp, gold)
    nlp.initialize(lambda: examples)
    tokens = pipe_of(nlp).handle.lm().tokenizer.tokenize("met Zorbulax")
    assert len(tokens) == 2


def test_component_initialize_again_forgets_the_training() -> None:
    nlp = initialised()
    train(nlp, steps=1)
    pipe = pipe_of(nlp)
    assert pipe._task.updated_labels
    pipe.set_tuning(Tuning({"PER": 0.5}))
    initialize(nlp)
    assert pipe._task.updated_labels == {}
    assert pipe.tuning == Tuning()
    assert pipe.get_training_state() is None


def test_component_initialize_of_a_copy_leaves_the_original_trained() -> None:
    nlp = initialised()
    first = weights_of(nlp)
    train(nlp, steps=2)
    learnt = weights_of(nlp)
    other = initialize(copy.deepcopy(nlp))
    assert same_weights(weights_of(other), first)
    assert same_weights(weights_of(nlp), learnt)


def test_component_initialize_of_a_trained_base_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nlp = trained()
    for _ in range(2):
        train(nlp, steps=1)
        learnt = weights_of(nlp)
        initialize(nlp)
        assert same_weights(weights_of(nlp), learnt)
    assert caplog.text.count(WARNING) == 1
    assert f"'{NAME}' was trained before" in caplog.text
    assert "load the pipeline again" in caplog.text


def test_component_initialize_of_a_base_twice_is_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    initialize(initialize(trained()))
    assert WARNING not in caplog.text


@pytest.mark.parametrize("way", ["disk", "bytes", "pickle"])
def test_component_initialize_of_a_loaded_model_from_scratch_keeps_its_weights(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nlp = initialised()
    train(nlp, steps=2)
    nlp.to_disk(tmp_path)
    ways = {
        "disk": lambda: spacy.load(tmp_path),
        "bytes": lambda: make_nlp().from_bytes(nlp.to_bytes()),
        "pickle": lambda: pickle.loads(pickle.dumps(nlp)),
    }
    loaded = ways[way]()
    before = weights_of(loaded)
    initialize(loaded)
    assert same_weights(weights_of(loaded), before)
    # a pickle holds its training, too
    assert (WARNING in caplog.text) == (way == "pickle")


def test_component_initialize_of_a_loaded_and_trained_model_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    initialised().to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    train(nlp, steps=1)
    initialize(nlp)
    assert caplog.text.count(WARNING) == 1
