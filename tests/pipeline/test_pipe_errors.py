"""What is said when a saved component or its model is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from helpers import (
    LABELS,
    NAME,
    SMALL,
    TEXT,
    gold_examples,
    initialised,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    train,
    trained,
)
from safetensors.torch import load_file, save_file
from spacy.lang.en import English
from spacy.language import Language


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of its model."""
    shutil.copytree(model_folder(), tmp_path / "model")
    return tmp_path / "model"


def use(model: Path | str, **settings: Any) -> None:
    trained(model=named(model, model=settings))(TEXT)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit a JSON file in place."""
    content = json.loads(path.read_text("utf8"))
    edit(content)
    path.write_text(json.dumps(content), "utf8")


def change_weights(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]
) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# Saved pipelines


def test_component_errors_missing_model_folder(folder: Path) -> None:
    shutil.rmtree(folder / NAME / "model")
    message = r'no model folder, but.* or load with exclude=\["padellm_ner"\]'
    with pytest.raises(ValueError, match=message):
        spacy.load(folder)


def test_component_errors_missing_model_folder_may_be_excluded(folder: Path) -> None:
    shutil.rmtree(folder / NAME / "model")
    assert spacy.load(folder, exclude=[NAME]).pipe_names == []


def test_component_errors_missing_cfg(folder: Path) -> None:
    (folder / NAME / "cfg").unlink()
    with pytest.raises(ValueError, match=r"has no file 'cfg'\. Restore it, or save"):
        spacy.load(folder)


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", r"model\.safetensors or quantized\.saf"),
        ("tokenizer", "tokenizer"),
    ],
)
def test_component_errors_missing_file(folder: Path, name: str, reported: str) -> None:
    for path in (folder / NAME / "model").glob(f"{name}*"):
        path.unlink()
    message = rf"model folder .*model has no {reported}.*\. Restore the file, or save"
    with pytest.raises(ValueError, match=message):
        spacy.load(folder)


def test_component_errors_labels_contradict_the_models(folder: Path) -> None:
    path = folder / NAME / "model" / "padellm.json"
    change(path, lambda settings: settings["labels"].update(PER="human"))
    with pytest.raises(
        ValueError, match="'PER' has the name 'person' in the config or the call"
    ):
        spacy.load(folder)


def test_component_errors_missing_padellm_json(folder: Path) -> None:
    (folder / NAME / "model" / "padellm.json").unlink()
    nlp = spacy.load(folder, config={f"components.{NAME}.prompt": None})
    message = "has no prompt, .*restore the file padellm.json in its folder, or save it"
    with pytest.raises(ValueError, match=message):
        nlp(TEXT)


def test_component_errors_unreadable_padellm_json(folder: Path) -> None:
    (folder / NAME / "model" / "padellm.json").write_text("{", "utf8")
    with pytest.raises(ValueError, match=r"Cannot read .*padellm\.json: .*Restore it"):
        spacy.load(folder)


# Models


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c", "~/none"])
def test_component_errors_missing_folder(name: str) -> None:
    with pytest.raises(ValueError, match=f"There is no model folder {name}"):
        make_nlp(model=named(name), labels=LABELS)(TEXT)


def test_component_errors_missing_folder_is_reported_by_initialize() -> None:
    config = trained(labels=LABELS).config
    config["components"][NAME]["model"]["name"] = "/no/such/folder"
    nlp = English.from_config(config)
    with pytest.raises(ValueError, match="There is no model folder /no/such/folder"):
        nlp.initialize(lambda: gold_examples(nlp))


def test_component_errors_hub_model_that_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True, raising=False)
    cache = "transformers.utils.hub.TRANSFORMERS_CACHE"
    monkeypatch.setattr(cache, str(tmp_path), raising=False)
    message = r"from 'no-one/no-model': .*\. Check the name"
    nlp = make_nlp(model=named("no-one/no-model"), labels=LABELS, prompt=PROMPT)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        nlp(TEXT)


PROMPT = {"@misc": "spacy-padellm.Prompt.v1", "preset": "paper-en"}


def test_component_errors_model_without_config(model: Path) -> None:
    (model / "config.json").unlink()
    with pytest.raises(ValueError, match=r"model folder .* has no config\.json"):
        use(model)


@pytest.mark.parametrize("missing", ["tokenizer*", "tokenizer.json"])
def test_component_errors_model_without_tokenizer(missing: str, model: Path) -> None:
    for path in model.glob(missing):
        path.unlink()
    with pytest.raises(ValueError, match=r"it has no tokenizer files\. Add them, e\.g"):
        use(model)


@pytest.mark.parametrize("size", [0, 5, 100, 20000])
def test_component_errors_truncated_weights(model: Path, size: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"weights of .* are corrupt .* Copy or"):
        use(model)


def test_component_errors_missing_weights(model: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(model, lambda weights: weights.pop(name))
    with pytest.raises(ValueError, match=rf"lacks 1 of its weights.*{name}\. Copy"):
        use(model)


def test_component_errors_unknown_architecture(model: Path) -> None:
    change(
        model / "config.json", lambda config: config.update(model_type="brontosaurus")
    )
    message = r"(?s)Could not load .*brontosaurus.*supports the architecture"
    with pytest.raises(ValueError, match=message):
        use(model)


def test_component_errors_config_that_is_no_json(model: Path) -> None:
    (model / "config.json").write_text("{", "utf8")
    with pytest.raises(ValueError, match="Could not load a causal language model"):
        use(model)


def test_component_errors_tokenizer_without_eos(model: Path) -> None:
    (model / "special_tokens_map.json").write_text("{}", "utf8")
    change(model / "tokenizer_config.json", lambda config: config.pop("eos_token"))
    with pytest.raises(ValueError, match=r"tokenizer of .* has no <eos> token.* Set"):
        use(model)


def test_component_errors_weights_that_are_no_numbers(model: Path) -> None:
    change_weights(model, lambda weights: weights["model.norm.weight"].fill_(torch.nan))
    with pytest.raises(ValueError, match="logits are NaN or infinite"):
        use(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_component_errors_cuda_that_is_absent(device: str) -> None:
    message = (
        rf"device '{device}' is not available: torch sees 0 CUDA device\(s\)\. Set"
    )
    with pytest.raises(ValueError, match=message):
        use(model_folder(), device=device)


def test_component_errors_unknown_device() -> None:
    with pytest.raises(ValueError, match=r"Unknown device 'gpu'\. Use 'auto'"):
        use(model_folder(), device="gpu")


def test_component_errors_unknown_dtype() -> None:
    with pytest.raises(ValueError, match=r"Unknown dtype 'float8'\. Use 'auto' or"):
        use(model_folder(), dtype="float8")


@pytest.mark.parametrize(
    "settings",
    [
        {"labels": {"A.B": {"name": "b", "description": "c"}}},
        {"labels": {"A:B": "b"}},
        {"labels": {"A=B": "b"}},
        {"labels": {"#A": "b"}},
        {"labels": {";A": "b"}},
        {"labels": {"[A": "b"}},
        {"labels": {" A": "b"}},
        {"labels": {"A ": "b"}},
        {"labels": {"A\nB": "b"}},
        {"labels": {"A": "${b}"}},
        {"labels": {"A": {"name": "b", "description": "of ${c}"}}},
        {"threshold": {"A:B": 0.5}},
    ],
)
def test_component_errors_labels_that_no_config_can_hold(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=r"The config of component .* cannot hold"):
        make_nlp(**settings)


def test_component_errors_labels_that_a_config_can_hold(tmp_path: Path) -> None:
    labels = {"A.B": "b: words", "C/D": {"name": "d", "description": "e"}}
    nlp = make_nlp(labels=labels, threshold={"A.B": 0.5})
    nlp.to_disk(tmp_path / "nlp")
    pipe = pipe_of(spacy.load(tmp_path / "nlp"))
    assert pipe.label_data == {"A.B": "b: words", "C/D": "d: e"}
    assert pipe.threshold == {"A.B": 0.5}


def test_component_errors_labels_that_no_config_can_hold_are_saved(
    tmp_path: Path,
) -> None:
    labels = {"@user": "user", "A:B": "${b}", "#A ": "a"}
    nlp = make_nlp()
    pipe_of(nlp).set_labels(labels)
    nlp.to_disk(tmp_path / "nlp")
    assert pipe_of(spacy.load(tmp_path / "nlp")).label_data == labels


@pytest.mark.parametrize("lora", [{"rank": 4}, {"r": 4, "target_modules": ["none"]}])
def test_component_errors_lora_settings(lora: dict[str, Any]) -> None:
    nlp = trained(model=named(model_folder(), model={"lora": lora}))
    with pytest.raises(ValueError, match=r"The LoRA settings are not valid: .*Correct"):
        nlp.update(gold_examples(nlp))


@pytest.mark.parametrize("size", [0, 100])
def test_component_errors_truncated_adapter(tmp_path: Path, size: int) -> None:
    lora = {"r": 4, "target_modules": ["q_proj"]}
    nlp = trained(model=named(model_folder(), model={"lora": lora}))
    nlp.update(gold_examples(nlp))
    nlp.to_disk(tmp_path)
    path = tmp_path / NAME / "model" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"weights of .* are corrupt"):
        spacy.load(tmp_path)(TEXT)


# Settings that contradict the model


def test_component_errors_label_by_another_name() -> None:
    with pytest.raises(
        ValueError, match="'PER' has the name 'human' in the config or the call"
    ):
        trained(labels={"PER": "human"})


def test_component_errors_another_prompt() -> None:
    with pytest.raises(ValueError, match="prompt is not the one that the model"):
        trained(prompt=PROMPT)


@pytest.mark.parametrize("prompt", ["compact", {"preset": "compact"}])
def test_component_errors_prompt_that_is_none(prompt: Any) -> None:
    with pytest.raises(ValueError, match="Give its settings as a block"):
        trained(prompt=prompt)


def test_component_errors_label_added_by_another_name() -> None:
    pipe = pipe_of(trained())
    with pytest.raises(
        ValueError, match="'PER' has the name 'human' in the config or the call"
    ):
        pipe.add_label("PER", "human")
    assert pipe.add_label("PER", LABELS["PER"]) == 0


@pytest.mark.parametrize(
    ("setting", "value"), [("threshold", "0.5"), ("threshold", 50), ("existing", "x")]
)
def test_component_errors_setting_changed_to_an_invalid_value(
    setting: str, value: Any
) -> None:
    nlp = trained()
    pipe_of(nlp).cfg[setting] = value
    with pytest.raises(ValueError, match=rf"{setting}.*padellm_ner"):
        nlp(TEXT)


@pytest.mark.parametrize(
    "sizes", [{"layers": 0}, {"heads": 3}, {"key_value_heads": 3}, {"context": -1}]
)
def test_component_errors_sizes_that_do_not_fit(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot have these sizes"):
        make_nlp(model={**SMALL, **sizes})


def bare(model: Path, **config: Any) -> Language:
    """A pipeline on a model that does not say what it was trained for."""
    (model / "padellm.json").unlink()
    return trained(model=named(model), **config)


def test_component_errors_no_labels(model: Path) -> None:
    with pytest.raises(ValueError, match=r"'padellm_ner' has no labels\. Set them"):
        bare(model)(TEXT)


def test_component_errors_no_prompt(model: Path) -> None:
    message = r"Component 'padellm_ner' has no prompt.* set \[components"
    with pytest.raises(ValueError, match=message):
        bare(model, labels=LABELS)(TEXT)


def test_component_errors_saving_without_labels(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no labels"):
        bare(model).to_disk(tmp_path / "nlp")


def test_component_errors_pipeline_in_the_place_of_a_model(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a spaCy pipeline.*padellm_ner/model"):
        make_nlp(model=named(folder))(TEXT)
    (folder / "padellm_ner").rename(folder / "places")
    with pytest.raises(ValueError, match=r"holds a spaCy pipeline.*places/model"):
        make_nlp(model=named(folder))(TEXT)


def test_component_errors_folder_without_a_model_is_reported_before_labels(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json"):
        make_nlp(model=named(tmp_path))(TEXT)


@pytest.mark.parametrize("name", ["OneStep", "Structured", "Augmented"])
def test_component_errors_decoder_that_the_model_was_not_trained_for(name: str) -> None:
    nlp = trained(decoder={"@misc": f"spacy-padellm.{name}Decoder.v1"})
    with pytest.raises(ValueError, match="trained to answer with counts, then ment"):
        nlp(TEXT)
    nlp = trained(decoder={"@misc": "spacy-padellm.BatchDecoder.v1"})
    assert nlp(TEXT).ents


def test_component_get_loss_of_one_example_is_spacys_error() -> None:
    nlp = initialised()
    (example, *_) = gold_examples(nlp)
    with pytest.raises(TypeError, match="E978"):
        pipe_of(nlp).get_loss(example, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_component_errors_batches_of_no_texts(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}.*at least 1"):
        list(pipe_of(trained()).pipe([], batch_size=batch_size))


def test_component_errors_frozen_before_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"does not exist yet.*frozen_components"):
        make_nlp()(TEXT)


def test_component_errors_no_gradient_checkpointing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"@misc": "spacy-padellm.Training.v1", "gradient_checkpointing": True}
    nlp = initialised(training=settings)
    kind = type(pipe_of(nlp).handle.lm().model)
    monkeypatch.setattr(kind, "supports_gradient_checkpointing", False)
    with pytest.raises(ValueError, match="Set gradient_checkpointing = false"):
        train(nlp, steps=1)
