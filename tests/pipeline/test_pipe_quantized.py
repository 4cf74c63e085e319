"""The component with a model whose layers are quantized."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import (
    LABELS,
    NAME,
    TEXT,
    gold_examples,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    train,
    trained,
    weights_of,
    without_settings,
)
from spacy.lang.en import English
from spacy.language import Language

from spacy_padellm.lm.quantization import compute

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
INT8 = {"load_in_8bit": True}
LORA = {"r": 4, "target_modules": "all-linear"}
needs_bitsandbytes = pytest.mark.usefixtures("bitsandbytes")


@pytest.fixture
def bitsandbytes() -> None:
    pytest.importorskip("bitsandbytes")


def quantized(
    settings: dict[str, Any] | None = NF4,
    *,
    lora: dict[str, Any] | None = None,
    folder: Path | None = None,
    **config: Any,
) -> Language:
    if lora is not None:
        pytest.importorskip("peft")
    model = {"quantization_config": settings, "lora": lora}
    return trained(model=named(folder or model_folder(), model=model), **config)


def layer(nlp: Language) -> Any:
    model = pipe_of(nlp).handle.lm().model
    return model.get_decoder().layers[0].mlp.up_proj


def stored(folder: Path) -> Any:
    config = (folder / NAME / "model" / "config.json").read_text("utf8")
    return json.loads(config).get("quantization_config")


# Settings


def test_component_quantized_is_off_by_default() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME)
    model = nlp.config["components"][NAME]["model"]
    assert model["quantization_config"] is None


def test_component_quantized_wrong_settings() -> None:
    with pytest.raises(ValueError, match="does not know: bits"):
        quantized({**NF4, "bits": 4})


def test_component_quantized_package_is_asked_for_where_weights_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = trained().config.copy()
    config["components"][NAME]["model"]["quantization_config"] = NF4
    monkeypatch.setattr(compute, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"spacy-padellm\[quantization\]"):
        quantized()
    nlp = English.from_config(config)
    with pytest.raises(ValueError, match=r"spacy-padellm\[quantization\]"):
        nlp("Bob met Anna .")


# Saving


@needs_bitsandbytes
@pytest.mark.parametrize("settings", [NF4, INT8])
def test_component_quantized_is_saved_as_it_is(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    nlp = quantized(settings)
    assert predictions(nlp) != predictions(trained())
    nlp.to_disk(tmp_path / "nlp")
    assert stored(tmp_path / "nlp").items() >= settings.items()
    again = spacy.load(tmp_path / "nlp")
    assert predictions(again) == predictions(nlp)
    again.to_disk(tmp_path / "again")
    assert predictions(spacy.load(tmp_path / "again")) == predictions(nlp)


@needs_bitsandbytes
def test_component_quantized_folder_needs_no_setting(tmp_path: Path) -> None:
    nlp = quantized()
    nlp.to_disk(tmp_path)
    plain = trained(model=named(tmp_path / NAME / "model"))
    assert type(layer(plain)).__name__ == "Linear4bit"
    assert predictions(plain) == predictions(nlp)


COPIES: dict[str, Callable[[Language], Language]] = {
    "bytes": lambda nlp: quantized().from_bytes(nlp.to_bytes()),
    "bytes without the setting": lambda nlp: trained().from_bytes(nlp.to_bytes()),
    "pickle": lambda nlp: pickle.loads(pickle.dumps(nlp)),
    "deepcopy": copy.deepcopy,
}


@needs_bitsandbytes
@pytest.mark.parametrize("kind", COPIES)
def test_component_quantized_copies(kind: str) -> None:
    nlp = quantized()
    other = COPIES[kind](nlp)
    assert type(layer(other)).__name__ == "Linear4bit"
    assert predictions(other) == predictions(nlp)
    assert predictions(COPIES[kind](other)) == predictions(nlp)


@needs_bitsandbytes
def test_component_quantized_replicas() -> None:
    decoder = {"@misc": "spacy-padellm.TreeDecoder.v1", "devices": ["cpu", "cpu"]}
    assert predictions(quantized(decoder=decoder)) == predictions(quantized())


# Training


@needs_bitsandbytes
@pytest.mark.parametrize("is_stored", [False, True])
def test_component_quantized_weights_are_not_trained(
    tmp_path: Path, is_stored: bool
) -> None:
    nlp = quantized()
    if is_stored:
        nlp.to_disk(tmp_path)
        nlp = trained(model=named(tmp_path / NAME / "model"))
    with pytest.raises(ValueError, match=r"only adapters on them .* Set lora"):
        train(nlp, steps=1)
    assert predictions(nlp) == predictions(quantized())


@needs_bitsandbytes
@pytest.mark.parametrize("settings", [NF4, INT8])
def test_component_quantized_base_of_an_adapter_stays(settings: dict[str, Any]) -> None:
    before = weights_of(quantized(settings))
    nlp = quantized(settings, lora=LORA)
    predictions(nlp)
    examples = gold_examples(nlp, {TEXT: [("Anna Smith", "LOC"), ("met", "PER")]})
    losses = train(nlp, steps=6, rate=0.01, examples=examples)
    assert losses[-1] < 0.8 * losses[0]
    after = {
        name.removeprefix("base_model.model.").replace("base_layer.", ""): weight
        for name, weight in weights_of(nlp).items()
    }
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


@needs_bitsandbytes
def test_component_quantized_adapter_is_trained_in_all_layers() -> None:
    nlp = quantized(lora=LORA)
    train(nlp, steps=1)
    predictions(nlp)  # bitsandbytes has layouts without gradients, for decoding
    train(nlp, steps=1)
    model = pipe_of(nlp).handle.lm().model
    weights = dict(model.named_parameters())
    trains = {name for name, weight in weights.items() if weight.requires_grad}
    assert {name for name in weights if "lora_" in name} == trains
    started_as_zeros = [weights[name] for name in trains if "lora_B" in name]
    assert started_as_zeros
    assert all(weight.any() for weight in started_as_zeros)
    assert {weights[name].dtype for name in trains} == {torch.float32}


@needs_bitsandbytes
def test_component_quantized_adapter_with_gradient_checkpointing() -> None:
    losses = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        settings = {"gradient_checkpointing": checkpointing}
        nlp = quantized(lora=LORA, training=settings)
        losses.append(train(nlp, steps=3, rate=1e-3))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@needs_bitsandbytes
@pytest.mark.parametrize("way", ["disk", "bytes", "pickle", "deepcopy"])
def test_component_quantized_adapter_is_saved(tmp_path: Path, way: str) -> None:
    nlp = quantized(lora=LORA)
    train(nlp, steps=2)
    expected = predictions(nlp)
    assert expected != predictions(quantized())
    if way == "disk":
        nlp.to_disk(tmp_path)
        assert not (tmp_path / NAME / "model" / "model.safetensors").exists()
        other = spacy.load(tmp_path)
    else:
        other = COPIES[way](nlp)
    assert predictions(other) == expected
    again = train(other, steps=1)
    assert again == pytest.approx(train(nlp, steps=1), rel=1e-4)


@needs_bitsandbytes
@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_component_quantized_adapter_that_is_copied_learns_on(way: str) -> None:
    nlp = quantized(lora=LORA)
    train(nlp, steps=2)
    pipe_of(nlp).update(gold_examples(nlp))  # its gradients are not copied
    other = COPIES[way](nlp)
    pipe_of(nlp)._updates.masters.zero_grad()
    pipe_of(nlp)._updates.weight = 0.0
    losses = [train(n, steps=4, rate=0.05) for n in (nlp, other)]
    assert losses[0][1:] != pytest.approx(losses[0][:1] * 3, rel=0.01)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@needs_bitsandbytes
def test_component_quantized_adapter_learns_new_tokens(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    (tmp_path / "base").mkdir()
    model = {"quantization_config": NF4, "lora": LORA}
    nlp = make_nlp(
        model=named(without_settings(tmp_path / "base"), model=model),
        prompt={"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"},
        labels=LABELS,
    )
    train(nlp, steps=2)
    nlp.to_disk(tmp_path / "saved")
    assert predictions(spacy.load(tmp_path / "saved")) == predictions(nlp)
