"""The component with the setting `device_map`, on a machine without a GPU."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import spacy
from helpers import NAME, model_folder, named, pipe_of, predictions, train, trained
from spacy.lang.en import English
from spacy.language import Language

from spacy_padellm.lm.devices import device_map as module

PARTS = ["embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb"]
MAP = {**{f"model.{part}": "cpu" for part in PARTS}, "lm_head": "cpu"}
AT = f"components.{NAME}.model"


def mapped(device_map: Any = "auto", **settings: Any) -> Language:
    model = {"device_map": device_map, "device": "auto", **settings}
    return trained(model=named(model_folder(), model=model))


def test_component_device_map_is_off_by_default() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME)
    assert nlp.config["components"][NAME]["model"]["device_map"] is None


@pytest.mark.parametrize("device_map", ["auto", "sequential", MAP])
def test_component_device_map_finds_the_same(device_map: Any) -> None:
    assert predictions(mapped(device_map)) == predictions(trained())


def test_component_device_map_goes_together_with_few_bits() -> None:
    pytest.importorskip("bitsandbytes")
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    plain = mapped(None, quantization_config=nf4)
    assert predictions(plain) != predictions(trained())
    nlp = mapped(quantization_config=nf4)
    assert pipe_of(nlp).handle.lm() is not pipe_of(plain).handle.lm()
    assert predictions(nlp) == predictions(plain)
    assert predictions(pickle.loads(pickle.dumps(nlp))) == predictions(plain)


@pytest.mark.parametrize("device_map", ["auto", MAP])
@pytest.mark.parametrize("way", ["disk", "bytes", "pickle", "config"])
def test_component_device_map_is_saved(
    way: str, device_map: Any, tmp_path: Path
) -> None:
    nlp = mapped(device_map)
    expected = predictions(nlp)
    if way == "disk":
        nlp.to_disk(tmp_path)
        other = spacy.load(tmp_path)
    elif way == "bytes":
        other = mapped(device_map).from_bytes(nlp.to_bytes())
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(nlp))
    else:
        config = nlp.config.from_str(nlp.config.to_str())
        other = English.from_config(config)
    assert other.config["components"][NAME]["model"]["device_map"] == device_map
    assert pipe_of(other).handle.source.device_map == device_map
    assert predictions(other) == expected


@pytest.mark.parametrize("device_map", ["auto", None])
def test_component_device_map_is_another_when_loaded(
    device_map: str | None, tmp_path: Path
) -> None:
    nlp = mapped(MAP)
    nlp.to_disk(tmp_path)
    other = spacy.load(tmp_path, config={f"{AT}.device_map": device_map})
    assert pipe_of(other).handle.source.device_map == device_map
    assert predictions(other) == predictions(nlp)


def test_component_device_map_and_a_device_are_an_error(tmp_path: Path) -> None:
    mapped().to_disk(tmp_path)
    with pytest.raises(ValueError, match="'cpu' and device_map = 'auto' are both set"):
        spacy.load(tmp_path, config={f"{AT}.device": "cpu"})


def test_component_device_map_absent_part_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"device_map does not fit .* and lm_head"):
        predictions(mapped({"model.embed_tokens": "cpu"}))


def test_component_device_map_accelerate_is_asked_for_where_weights_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a model that is loaded already would be shared
    config = mapped("balanced_low_0").config.copy()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install accelerate"):
        mapped()
    nlp = English.from_config(config)
    with pytest.raises(ValueError, match="pip install accelerate"):
        nlp("Bob met Anna .")


def test_component_device_map_model_is_not_trained() -> None:
    nlp = mapped()
    with pytest.raises(ValueError, match=r"not trained.* Set device_map = null"):
        train(nlp, steps=1)
    assert predictions(nlp) == predictions(trained())


def test_component_device_map_models_are_not_shared_with_others() -> None:
    first, second, plain = mapped(), mapped(), trained()
    assert pipe_of(first).handle.lm() is pipe_of(second).handle.lm()
    assert pipe_of(first).handle.lm() is not pipe_of(plain).handle.lm()
