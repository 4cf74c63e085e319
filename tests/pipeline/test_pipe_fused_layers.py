"""The setting `fused_layers`: who runs the layers of the component's model."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
from confection import ConfigValidationError
from helpers import (
    GOLD,
    NAME,
    SMALL,
    entities,
    initialised,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    train,
    trained,
)
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.training.thinc_model import make_causal_lm, make_small_causal_lm

OFF = {"fused_layers": False}


def make_off() -> Language:
    return trained(model=named(model_folder(), model=OFF))


def lm_of(nlp: Language) -> LanguageModel:
    return pipe_of(nlp).handle.lm()


def scores(docs: Iterable[Doc]) -> list[float]:
    return [span._.padellm_score for doc in docs for span in doc.ents]


def is_off(nlp: Language) -> bool:
    return lm_of(nlp).layers is None


def test_component_fused_layers_are_on_by_default() -> None:
    assert not is_off(trained())
    model = make_nlp(model=named(model_folder())).config["components"][NAME]["model"]
    assert model["fused_layers"] is True


def test_component_fused_layers_find_the_same_as_transformers() -> None:
    off = make_off()
    assert is_off(off)
    found = [entities(off(text)) for text in GOLD]
    assert any(found)
    assert found == [entities(trained()(text)) for text in GOLD]


def test_component_fused_layers_are_off_in_a_model_without_spacy() -> None:
    assert load_model(str(model_folder()), fused_layers=False).layers is None


def test_component_fused_layers_of_other_pipes_stay_as_they_are() -> None:
    on, off = trained(model=named(model_folder())), make_off()
    assert lm_of(on) is not lm_of(off)
    assert is_off(off)
    assert not is_off(on)


@pytest.mark.parametrize("way", ["disk", "bytes", "pickle", "copy", "config"])
def test_component_fused_layers_are_saved(way: str, tmp_path: Path) -> None:
    nlp = make_off()
    expected = predictions(nlp)
    if way == "disk":
        nlp.to_disk(tmp_path)
        other = spacy.load(tmp_path)
    elif way == "bytes":
        other = make_off().from_bytes(nlp.to_bytes())
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(nlp))
    elif way == "copy":
        other = copy.deepcopy(nlp)
    else:
        other = spacy.util.load_model_from_config(nlp.config)
    assert is_off(other)
    if way != "config":  # the labels are in the component
        assert predictions(other) == expected


def test_component_fused_layers_can_be_changed_at_loading(folder: Path) -> None:
    off = spacy.load(folder, config={f"components.{NAME}.model.fused_layers": False})
    assert is_off(off)
    assert not is_off(spacy.load(folder))
    assert predictions(off) == predictions(make_off())


@pytest.mark.slow
def test_component_fused_layers_are_those_of_other_processes() -> None:
    nlp = make_off()
    docs = nlp.pipe(GOLD, n_process=2, batch_size=1)
    # the sums of fused layers round in another way
    assert scores(docs) == scores(map(nlp, GOLD)) != scores(map(trained(), GOLD))


def test_component_fused_layers_are_off_in_training_too() -> None:
    nlp = make_off()
    train(nlp, steps=1)
    assert is_off(nlp)


def test_component_fused_layers_are_off_with_an_adapter() -> None:
    pytest.importorskip("peft")
    lora = {"r": 2, "target_modules": ["q_proj"]}
    nlp = trained(model=named(model_folder(), model={**OFF, "lora": lora}))
    train(nlp, steps=1)
    assert hasattr(lm_of(nlp).model, "peft_config")
    assert is_off(nlp)


def test_component_fused_layers_are_off_in_a_model_from_scratch() -> None:
    assert is_off(initialised(model={**SMALL, **OFF}))


@pytest.mark.parametrize("make", [make_causal_lm, make_small_causal_lm])
def test_component_fused_layers_must_be_true_or_false(make: Any) -> None:
    with pytest.raises(ValueError, match=r"is 'no' .* Set it to true"):
        make(fused_layers="no")
    with pytest.raises(ConfigValidationError, match="fused_layers"):
        make_nlp(model={**SMALL, "fused_layers": "no"})


@pytest.mark.parametrize("make", [make_causal_lm, make_small_causal_lm])
def test_component_fused_layers_are_needed_for_8_bit_products(make: Any) -> None:
    with pytest.raises(ValueError, match='"int8", and fused_layers is false'):
        make(dtype="int8", fused_layers=False)
