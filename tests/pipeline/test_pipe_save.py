"""Saving and loading pipelines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from conftest import make_lm
from helpers import (
    GOLD,
    LABELS,
    NAME,
    TAGGING,
    TEXT,
    entities,
    found,
    gold_doc,
    initialised,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    same_weights,
    train,
    trained,
    trained_folder,
    weights_of,
)
from spacy.language import Language
from spacy.training import Example

from spacy_padellm.lm.files.licenses import read_licenses
from spacy_padellm.lm.saving.folder import copy_model_folder
from spacy_padellm.lm.task.config import read_settings
from spacy_padellm.mention.calibration import Tuning
from spacy_padellm.prompt.template import PRESETS

LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


def weights_file(folder: Path) -> bytes:
    return (folder / NAME / "model" / "model.safetensors").read_bytes()


def moved_base(tmp_path: Path) -> tuple[Path, Path]:
    """A pipeline's folder, and the model's that its config names."""
    base = tmp_path / "base"
    shutil.copytree(model_folder(), base)
    trained(model=named(base)).to_disk(tmp_path / "nlp")
    return tmp_path / "nlp", base


# Disk


def test_component_save_loaded_pipeline_finds_the_same() -> None:
    nlp = spacy.load(trained_folder())
    assert [entities(nlp(text)) for text in GOLD][:3] == list(GOLD.values())[:3]


def test_component_save_twice_gives_the_same_weights(tmp_path: Path) -> None:
    spacy.load(trained_folder()).to_disk(tmp_path)
    assert weights_file(tmp_path) == weights_file(trained_folder())


def test_component_save_of_trained_weights_is_stable(tmp_path: Path) -> None:
    nlp = spacy.load(trained_folder())
    train(nlp, steps=1)
    for name in ("one", "two"):
        nlp.to_disk(tmp_path / name)
    assert weights_file(tmp_path / "one") == weights_file(tmp_path / "two")
    assert weights_file(tmp_path / "one") != weights_file(trained_folder())


def test_component_save_trained_pipeline_predicts_the_same(tmp_path: Path) -> None:
    nlp = spacy.load(trained_folder())
    train(nlp, steps=2)
    nlp.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path)) == predictions(nlp)


def test_component_save_loaded_pipeline_predicts_the_same(tmp_path: Path) -> None:
    nlp = spacy.load(trained_folder())
    nlp.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path)) == predictions(nlp)


def test_component_save_keeps_labels_and_prompt(tmp_path: Path) -> None:
    spacy.load(trained_folder()).to_disk(tmp_path)
    pipe = pipe_of(spacy.load(tmp_path))
    assert (pipe.label_data, pipe.prompt) == (LABELS, PRESETS["compact"])


def test_component_save_keeps_settings_that_were_changed(tmp_path: Path) -> None:
    nlp = trained()
    pipe_of(nlp).cfg["threshold"] = 0.75
    nlp.to_disk(tmp_path)
    assert pipe_of(spacy.load(tmp_path)).cfg["threshold"] == 0.75


def change_cfg(folder: Path, **settings: Any) -> None:
    """Change a saved component's cfg; None deletes a setting."""
    path = folder / NAME / "cfg"
    cfg = {**json.loads(path.read_text("utf8")), **settings}
    kept = {key: value for key, value in cfg.items() if value is not None}
    path.write_text(json.dumps(kept), "utf8")


@pytest.mark.parametrize("setting", ["existing", "labels"])
def test_component_save_cfg_without_a_setting_keeps_the_configs(
    folder: Path, setting: str
) -> None:
    before = pipe_of(spacy.load(folder))
    change_cfg(folder, **{setting: None})  # as if it came with a later version
    nlp = spacy.load(folder)
    assert pipe_of(nlp).cfg == before.cfg
    assert entities(nlp(TEXT))


def test_component_save_cfg_with_a_wrong_setting_is_an_error(folder: Path) -> None:
    change_cfg(folder, dedup="x")
    with pytest.raises(ValueError, match="dedup"):
        spacy.load(folder)


def test_component_save_cfg_holds_settings_only(folder: Path) -> None:
    assert "model_saved" not in pipe_of(spacy.load(folder)).cfg


def test_component_save_thinc_model_refuses(tmp_path: Path) -> None:
    model = pipe_of(trained()).model
    message = (
        r"does not save the language model's weights.*nlp\.to_disk or nlp\.to_bytes"
    )
    for save in (model.to_bytes, model.copy().to_bytes, model.to_dict):
        with pytest.raises(ValueError, match=message):
            save()
    with pytest.raises(ValueError, match=message):
        model.to_disk(tmp_path / "model")


def test_component_save_over_its_own_folder(folder: Path) -> None:
    before = predictions(spacy.load(trained_folder()))
    nlp = spacy.load(folder)
    nlp.to_disk(folder)
    assert predictions(spacy.load(folder)) == predictions(nlp) == before


def test_component_save_over_its_own_folder_once_used(folder: Path) -> None:
    nlp = spacy.load(folder)
    before = predictions(nlp)
    nlp.to_disk(folder)
    assert predictions(spacy.load(folder)) == predictions(nlp) == before


def test_component_save_over_its_own_folder_once_trained(folder: Path) -> None:
    nlp = spacy.load(folder)
    untrained = predictions(nlp)
    train(nlp, steps=2)
    nlp.to_disk(folder)
    assert predictions(spacy.load(folder)) == predictions(nlp) != untrained


def test_component_save_leaves_no_old_file_behind(folder: Path) -> None:
    old = folder / NAME / "model" / "old.safetensors"
    old.write_bytes(b"old")
    nlp = spacy.load(folder)
    train(nlp, steps=1)
    nlp.to_disk(folder)
    assert not old.exists()


def test_component_save_is_independent_of_the_named_model(tmp_path: Path) -> None:
    saved, base = moved_base(tmp_path)
    shutil.rmtree(base)
    nlp = spacy.load(saved)
    assert predictions(nlp) == predictions(trained())


def test_component_save_is_not_bound_to_a_newer_prompt(tmp_path: Path) -> None:
    saved, base = moved_base(tmp_path)
    settings = json.loads((base / "padellm.json").read_text("utf8"))
    settings["prompt"] = PRESETS["paper-en"].to_dict()
    (base / "padellm.json").write_text(json.dumps(settings), "utf8")
    assert pipe_of(spacy.load(saved)).prompt == PRESETS["compact"]


def test_component_save_can_be_moved(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert predictions(spacy.load(moved)) == predictions(trained())


def test_component_save_dtype_of_the_weights(tmp_path: Path) -> None:
    nlp = trained(model=named(model_folder(), model={"dtype": "bfloat16"}))
    train(nlp, steps=1)
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert pipe_of(nlp).handle.lm().dtype == torch.bfloat16
    config = json.loads((tmp_path / NAME / "model" / "config.json").read_text("utf8"))
    # transformers 5 calls it dtype
    assert config.get("dtype", config.get("torch_dtype")) == "bfloat16"


def test_component_save_tied_embeddings_once(tmp_path: Path) -> None:
    nlp = trained()
    train(nlp, steps=1)
    nlp.to_disk(tmp_path)
    assert len(weights_file(tmp_path)) == len(weights_file(trained_folder()))


def test_component_save_untrained_small_model_has_no_folder(tmp_path: Path) -> None:
    make_nlp(labels=LABELS).to_disk(tmp_path)
    assert not (tmp_path / NAME / "model").exists()
    assert pipe_of(spacy.load(tmp_path)).label_data == LABELS


# Exclusions


def test_component_save_without_model_has_no_folder(tmp_path: Path) -> None:
    pipe_of(trained()).to_disk(tmp_path, exclude=["model", "vocab"])
    assert [path.name for path in tmp_path.iterdir()] == ["cfg"]


def test_component_save_without_model_loads_the_named_model(tmp_path: Path) -> None:
    nlp, other = trained(), trained()
    pipe_of(nlp).cfg["threshold"] = 0.25
    pipe_of(nlp).to_disk(tmp_path, exclude=["model"])
    pipe_of(other).from_disk(tmp_path)
    assert pipe_of(other).cfg["threshold"] == 0.25
    assert predictions(other) == predictions(nlp)


def test_component_save_loading_without_model_keeps_the_model(tmp_path: Path) -> None:
    nlp = trained()
    train(nlp, steps=1)
    before = weights_of(nlp)
    pipe_of(nlp).from_disk(trained_folder() / NAME, exclude=["model"])
    assert same_weights(weights_of(nlp), before)


def test_component_save_loading_without_model_keeps_what_it_was_trained_on(
    tmp_path: Path,
) -> None:
    nlp = trained()
    pipe = pipe_of(nlp)
    pipe.add_label("DRUG", "drug")
    train(nlp, steps=1)
    pipe.set_tuning(Tuning(thresholds={"PER": 0.9}))
    pipe.set_labels(["PER"])
    pipe.from_bytes(pipe.to_bytes(), exclude=["model"])
    assert pipe.labels == ("PER",)
    pipe.to_disk(tmp_path)
    settings = read_settings(tmp_path / "model")
    assert settings is not None
    assert "DRUG" in settings.labels
    assert pipe.tuning.thresholds == {"PER": 0.9}


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_component_save_loading_that_fails_keeps_the_component(
    tmp_path: Path, way: str
) -> None:
    other = pipe_of(initialised())
    other.cfg["dedup"] = "x"
    nlp = trained()
    before, weights = predictions(nlp), weights_of(nlp)
    other.to_disk(tmp_path)
    load = {
        "disk": lambda: pipe_of(nlp).from_disk(tmp_path),
        "bytes": lambda: pipe_of(nlp).from_bytes(other.to_bytes()),
    }[way]
    with pytest.raises(ValueError, match="dedup"):
        load()
    assert same_weights(weights_of(nlp), weights)
    assert predictions(nlp) == before


def test_component_save_loading_without_a_prompt_keeps_the_component(
    tmp_path: Path,
) -> None:
    nlp = trained()
    before = predictions(nlp)
    pipe_of(nlp).to_disk(tmp_path)
    (tmp_path / "model" / "padellm.json").unlink()
    with pytest.raises(ValueError, match=r"restore the file padellm\.json"):
        pipe_of(nlp).from_disk(tmp_path)
    assert predictions(nlp) == before


def test_component_save_exclude_may_be_a_generator(tmp_path: Path) -> None:
    nlp = trained()
    train(nlp, steps=1)
    pipe, before = pipe_of(nlp), weights_of(nlp)
    pipe.from_disk(trained_folder() / NAME, exclude=iter(["model"]))
    pipe.from_bytes(pipe_of(trained()).to_bytes(), exclude=iter(["model"]))
    assert same_weights(weights_of(nlp), before)
    pipe.to_disk(tmp_path, exclude=iter(["model"]))
    assert not (tmp_path / "model").exists()
    assert pipe.to_bytes(exclude=iter(["model"])) == pipe.to_bytes(exclude=["model"])


def test_component_save_loading_without_cfg_keeps_the_settings() -> None:
    nlp = trained(threshold=0.25)
    pipe_of(nlp).from_disk(trained_folder() / NAME, exclude=["cfg"])
    assert pipe_of(nlp).cfg["threshold"] == 0.25


def test_component_save_loading_forgets_the_training(tmp_path: Path) -> None:
    nlp = trained()
    train(nlp, steps=1)
    pipe_of(nlp).from_disk(trained_folder() / NAME)
    assert predictions(nlp) == predictions(trained())


def test_component_save_pipeline_without_the_component(tmp_path: Path) -> None:
    trained().to_disk(tmp_path, exclude=[NAME])
    assert not (tmp_path / NAME).exists()


# Bytes


def test_component_save_bytes_predict_the_same() -> None:
    nlp = trained()
    copy = trained().from_bytes(nlp.to_bytes())
    assert predictions(copy) == predictions(nlp)


def test_component_save_bytes_of_a_trained_pipeline() -> None:
    nlp = trained()
    train(nlp, steps=2)
    copy = trained().from_bytes(nlp.to_bytes())
    assert same_weights(weights_of(copy), weights_of(nlp))


def test_component_save_bytes_into_an_empty_pipeline() -> None:
    nlp = trained()
    copy = make_nlp().from_bytes(nlp.to_bytes())
    assert predictions(copy) == predictions(nlp)


def test_component_save_bytes_are_independent_of_the_folder(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_folder(), base)
    nlp, copy = trained(model=named(base)), trained(model=named(base))
    data = nlp.to_bytes()
    shutil.rmtree(base)
    assert predictions(copy.from_bytes(data)) == predictions(trained())


def test_component_save_bytes_come_back_to_disk(tmp_path: Path) -> None:
    copy = make_nlp().from_bytes(trained().to_bytes())
    copy.to_disk(tmp_path)
    assert predictions(spacy.load(tmp_path)) == predictions(trained())


def test_component_save_bytes_without_model_are_small() -> None:
    pipe = pipe_of(trained())
    small = pipe.to_bytes(exclude=["model", "vocab"])
    assert len(small) < 1000 < len(pipe.to_bytes(exclude=["vocab"]))


def test_component_save_bytes_without_model_keep_the_settings() -> None:
    nlp, other = trained(threshold=0.25), trained()
    data = pipe_of(nlp).to_bytes(exclude=["model"])
    pipe_of(other).from_bytes(data)
    assert pipe_of(other).cfg["threshold"] == 0.25
    assert predictions(other) == predictions(nlp)


def test_component_save_keeps_a_prompt_that_reads_the_text_twice(
    tmp_path: Path,
) -> None:
    text = "text:\n{text}\ntext:\n{text}\n"
    prompt = {"@misc": "spacy-padellm.Prompt.v1", "text": text}
    nlp = initialised(labels=LABELS, prompt=prompt)
    nlp.to_disk(tmp_path / "nlp")
    model = tmp_path / "nlp" / NAME / "model"
    for copy in (spacy.load(tmp_path / "nlp"), make_nlp(model=named(model))):
        assert copy(TEXT)
        found = pipe_of(copy).prompt
        assert found is not None
        assert found.text == text
        assert found == pipe_of(nlp).prompt


def test_component_save_bytes_of_an_untrained_small_model() -> None:
    copy = make_nlp().from_bytes(make_nlp(labels=LABELS).to_bytes())
    assert pipe_of(copy).label_data == LABELS


def test_component_save_bytes_without_weights_where_none_are_needed(
    tmp_path: Path,
) -> None:
    for path in model_folder().iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copy(path, tmp_path)
    server = {"@misc": "spacy-padellm.ServerDecoder.v1", "base_url": "http://no/v1"}
    client = trained(model=named(tmp_path), decoder=server)
    expected = pipe_of(client).handle.client_tokens(PRESETS["compact"])

    def empty() -> Language:
        return make_nlp(decoder=server)

    other = empty().from_bytes(client.to_bytes())
    assert pipe_of(other).label_data == LABELS
    other.to_disk(tmp_path / "nlp")
    again = empty().from_bytes(other.to_bytes())
    for copy in (other, again, spacy.load(tmp_path / "nlp")):
        tokens = pipe_of(copy).handle.client_tokens(PRESETS["compact"])
        prompts = [t.count_prompts([TEXT], ["person"]) for t in (tokens, expected)]
        assert prompts[0] == prompts[1]


# Licences

LICENSES = {"LICENSE": b"A", "LICENCE-1.1": b"B", "Notice.txt": b"C"}


@pytest.fixture
def licensed(tmp_path: Path) -> Path:
    """A model folder with licences."""
    shutil.copytree(model_folder(), tmp_path / "base")
    for name, content in LICENSES.items():
        (tmp_path / "base" / name).write_bytes(content)
    return tmp_path / "base"


def licenses_of(model: Path) -> dict[str, bytes]:
    return {name: (model / name).read_bytes() for name in LICENSES}


@pytest.mark.parametrize("lora", [None, LORA])
def test_component_save_of_trained_weights_keeps_the_licences(
    lora: dict[str, Any] | None, licensed: Path, tmp_path: Path
) -> None:
    if lora:
        pytest.importorskip("peft")
    nlp = trained(model=named(licensed, model={"lora": lora}))
    for name in ("once", "again"):
        train(nlp, steps=1)
        nlp.to_disk(tmp_path / name)
        assert licenses_of(tmp_path / name / NAME / "model") == LICENSES
        nlp = spacy.load(tmp_path / name)


@pytest.mark.parametrize("steps", [0, 1])
def test_component_save_bytes_keep_the_licences(
    steps: int, licensed: Path, tmp_path: Path
) -> None:
    nlp = trained(model=named(licensed))
    train(nlp, steps=steps)
    make_nlp().from_bytes(nlp.to_bytes()).to_disk(tmp_path / "nlp")
    assert licenses_of(tmp_path / "nlp" / NAME / "model") == LICENSES


def test_component_save_takes_no_code_and_no_large_file_for_a_licence(
    tmp_path: Path,
) -> None:
    for name in ("license.py", "LICENSE.SO", "copyright.txt", "NOTICE.large"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "NOTICE.large").write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "licenses").mkdir()
    assert not read_licenses(tmp_path)


# What else is in a model folder

EXTRAS = (
    *(".gitattributes", ".cache/huggingface/x", "onnx/model.onnx", "runs/1/events"),
    *("checkpoint-5/model.safetensors", "training_args.bin", "optimizer.pt"),
    *("rng_state_0.pth", "model.gguf", "tf_model.h5", "chat/.hidden"),
)
NEEDED = (
    *("README.md", "chat_template.jinja", "spiece.model", "merges.txt"),
    *("additional_chat_templates/tool.jinja", "LICENSE", "LICENSES/MIT.txt"),
)


def test_component_save_of_an_untrained_model_leaves_out_what_is_not_its_own(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_folder(), base)
    for name in EXTRAS + NEEDED:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"x")
    nlp = trained(model=named(base))
    nlp.to_disk(tmp_path / "nlp")
    model = tmp_path / "nlp" / NAME / "model"
    assert files_in(model) == files_in(model_folder()) | set(NEEDED)
    assert predictions(spacy.load(tmp_path / "nlp")) == predictions(trained())


def test_component_save_of_a_trusted_model_leaves_out_hidden_files_alone(
    tmp_path: Path,
) -> None:
    base, copy = tmp_path / "base", tmp_path / "copy"
    shutil.copytree(model_folder(), base)
    code = {"scheduler.py", "words.pt", "assets/words.txt"}
    for name in (*code, ".cache/x"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"x")
    settings = read_settings(base)
    assert settings is not None
    copy_model_folder(base, copy, settings, trusted=True)
    assert files_in(copy) == files_in(model_folder()) | code


def files_in(folder: Path) -> set[str]:
    paths = folder.rglob("*")
    return {p.relative_to(folder).as_posix() for p in paths if p.is_file()}


def test_component_save_in_its_own_place_loses_nothing(tmp_path: Path) -> None:
    shutil.copytree(trained_folder(), tmp_path / "nlp")
    note = tmp_path / "nlp" / NAME / "model" / ".notes" / "mine"
    note.parent.mkdir()
    note.touch()
    model = named(tmp_path / "nlp" / NAME / "model")
    trained(model=model).to_disk(tmp_path / "nlp")
    assert note.exists()


# Adapters


def adapted(base: Path) -> Language:
    nlp = trained(model=named(base, model={"lora": LORA}))
    train(nlp, steps=2)
    return nlp


def test_component_save_adapter_names_its_base(tmp_path: Path) -> None:
    adapted(model_folder()).to_disk(tmp_path)
    model = tmp_path / NAME / "model"
    config = json.loads((model / "adapter_config.json").read_text("utf8"))
    assert config["base_model_name_or_path"] == str(model_folder())
    assert not (model / "model.safetensors").exists()


def test_component_save_adapter_names_a_bundled_base_as_it_was_named(
    tmp_path: Path,
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config={"model": {"name": "bundled-en-sm", "lora": LORA}})
    gold = gold_doc(nlp, "Bob left Rome .", [("Bob", "PER"), ("Rome", "LOC")])
    train(nlp, steps=1, examples=[Example(nlp.make_doc(gold.text), gold)])
    nlp.to_disk(tmp_path)
    model = tmp_path / NAME / "model"
    config = json.loads((model / "adapter_config.json").read_text("utf8"))
    assert config["base_model_name_or_path"] == "bundled-en-sm"
    assert entities(spacy.load(tmp_path)(gold.text)) == entities(nlp(gold.text))


def test_component_save_adapter_predicts_the_same(tmp_path: Path) -> None:
    nlp = adapted(model_folder())
    nlp.to_disk(tmp_path)
    copy = spacy.load(tmp_path)
    assert predictions(copy) == predictions(nlp) != predictions(trained())


def test_component_save_adapter_in_bytes_predicts_the_same() -> None:
    nlp = adapted(model_folder())
    copy = trained().from_bytes(nlp.to_bytes())
    assert predictions(copy) == predictions(nlp)


def test_component_save_adapter_can_be_trained_on(tmp_path: Path) -> None:
    adapted(model_folder()).to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    before = weights_of(nlp)
    train(nlp, steps=1)
    assert not same_weights(weights_of(nlp), before)


def test_component_save_adapter_without_its_base_says_what_to_do(
    tmp_path: Path,
) -> None:
    shutil.copytree(model_folder(), tmp_path / "base")
    adapted(tmp_path / "base").to_disk(tmp_path / "saved")
    (tmp_path / "base").rename(tmp_path / "moved")
    message = r"(?s)needs the base model .*base .*There is no model folder.*or set "
    with pytest.raises(ValueError, match=message + "base_model_name_or_path in"):
        spacy.load(tmp_path / "saved")
    file = tmp_path / "saved" / NAME / "model" / "adapter_config.json"
    config = json.loads(file.read_text("utf8"))
    config["base_model_name_or_path"] = "~no-such-user/base"
    file.write_text(json.dumps(config), "utf8")
    with pytest.raises(ValueError, match=message + "base_model_name_or_path in"):
        spacy.load(tmp_path / "saved")
    config["base_model_name_or_path"] = str(tmp_path / "moved")
    file.write_text(json.dumps(config), "utf8")
    assert predictions(spacy.load(tmp_path / "saved"))


def test_component_save_adapter_keeps_trained_special_tokens(tmp_path: Path) -> None:
    base = make_lm("llama")
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    model = {
        "@architectures": "spacy-padellm.CausalLM.v1",
        "name": str(tmp_path / "base"),
        "lora": LORA,
        "dtype": "float32",
    }
    prompt = {"@misc": "spacy-padellm.Prompt.v1", "preset": "compact"}
    nlp = make_nlp(model=model, prompt=prompt, labels=LABELS)
    train(nlp, steps=2)
    nlp.to_disk(tmp_path / "saved")
    copy = spacy.load(tmp_path / "saved")
    embeddings = []
    for pipeline in (nlp, copy):
        lm = pipe_of(pipeline).handle.lm()
        tokens = lm.tokenizer.convert_tokens_to_ids(["<|label|>", "<|count|>"])
        embeddings.append(lm.model.get_input_embeddings()(torch.tensor(tokens)))
    assert torch.equal(*embeddings)
    assert not torch.equal(embeddings[0][0], embeddings[0][1])
    assert predictions(copy) == predictions(nlp)


def test_component_save_adapter_keeps_its_tags(tmp_path: Path) -> None:
    untagged = {key: value for key, value in TAGGING.items() if key != "training"}
    initialised(**untagged).to_disk(tmp_path / "base")
    model = named(tmp_path / "base" / NAME / "model", model={"lora": LORA})
    nlp = make_nlp(model=model, **TAGGING)
    train(nlp, steps=1)
    lm = pipe_of(nlp).handle.lm()
    assert set(lm.tags.inside) == set(LABELS.values())
    nlp.to_disk(tmp_path / "adapter")
    for copy in (
        spacy.load(tmp_path / "adapter"),
        trained().from_bytes(nlp.to_bytes()),
    ):
        loaded = pipe_of(copy).handle.lm()
        assert loaded.tags == lm.tags


def test_component_save_adapter_over_its_base_is_refused(folder: Path) -> None:
    nlp = adapted(folder / NAME / "model")
    with pytest.raises(ValueError, match="would delete that model"):
        nlp.to_disk(folder)
    assert predictions(trained(model=named(folder / NAME / "model")))


# Labels


def test_component_save_fewer_labels_forget_no_names(tmp_path: Path) -> None:
    nlp = trained()
    known = pipe_of(nlp).label_data
    pipe_of(nlp).set_labels(["LOC"])
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert pipe_of(again).labels == ("LOC",)
    pipe_of(again).set_labels(list(known))
    assert pipe_of(again).label_data == known


def test_component_save_labels_that_were_not_trained_may_be_renamed(
    tmp_path: Path,
) -> None:
    nlp = trained()
    pipe_of(nlp).add_label("FOO")
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert "FOO" in pipe_of(again).labels
    pipe_of(again).set_labels({"FOO": "a better name"})
    assert pipe_of(again).label_data == {"FOO": "a better name"}


def test_component_save_trained_labels_are_the_models(tmp_path: Path) -> None:
    nlp = initialised(labels=LABELS)
    train(nlp, steps=1)
    pipe_of(nlp).set_labels(["LOC"])
    nlp.to_disk(tmp_path / "nlp")
    path = tmp_path / "nlp" / NAME / "model" / "padellm.json"
    assert json.loads(path.read_text("utf8"))["labels"] == LABELS


def test_component_save_loaded_pipeline_does_not_depend_on_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    nlp = spacy.load(folder.name)
    monkeypatch.chdir(folder)
    assert found(nlp.pipe(GOLD)) == found(spacy.load(folder).pipe(GOLD))
