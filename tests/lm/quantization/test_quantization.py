"""Models with quantized layers: settings, loading, decoding, saving and copies."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, make_lm, on_cuda, random_texts, same
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from spacy_padellm.compat.transformers import dtype_option
from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.replicas import make_replicas
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.handle.shared import load_shared
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.quantization import compute, copies
from spacy_padellm.lm.quantization.compute import (
    check_packages,
    check_quantization,
)
from spacy_padellm.lm.quantization.copies import copied
from spacy_padellm.lm.vocabulary import project
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
NESTED = {**NF4, "bnb_4bit_use_double_quant": True}
INT8 = {"load_in_8bit": True}
SETTINGS = [NF4, NESTED, INT8]
PROMPT = PRESETS["paper-en"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_lm("llama"), tmp_path_factory.mktemp("model"))


@pytest.fixture
def bitsandbytes() -> None:
    pytest.importorskip("bitsandbytes")


def save(lm: LanguageModel, folder: Path) -> Path:
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path, settings: dict[str, Any] | None = NF4) -> LanguageModel:
    return load_model(str(folder), quantization=settings)


def linear(lm: LanguageModel) -> Any:
    return lm.model.get_decoder().layers[0].mlp.up_proj


@torch.inference_mode()
def logits_of(lm: LanguageModel) -> torch.Tensor:
    """The logits of two branches of a tree, as decoding computes them."""
    tree, cache = TokenTree(), TreeKVCache()
    root = tree.extend(ROOT, [1, 2, 3, 4])
    lm.packed_logits(pack([tree], 0), [root], cache)
    ends = [tree.extend(root, branch) - 4 for branch in ([7, 8], [9])]
    return lm.packed_logits(pack([tree], 1), ends, cache)[0].clone()


@torch.inference_mode()
def sequence_logits(model: Any) -> torch.Tensor:
    """The same, as transformers computes them."""
    rows = [[1, 2, 3, 4, 7, 8], [1, 2, 3, 4, 9]]
    return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])


def found(lm: LanguageModel, decoder: Any) -> Any:
    prompt = PromptTokens(PROMPT, lm.tokenizer)
    return decode(decoder, lm, prompt, random_texts(0, 3), LABELS)


# Settings

BEGINNINGS = {
    "P700": "^quantization_config is .* Set it to null",
    "P701": "^quantization_config has quant_method = .*one of: .*bitsandbytes",
    "P702": "^quantization_config has settings that bitsandbytes does not know",
    "P703": "^quantization_config is not valid",
}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([], "P700"),
        ({}, "P700"),
        ("nf4", "P700"),
        (True, "P700"),
        ({4: True}, "P700"),
        ({"bits": 4}, "P701"),
        ({"quant_method": None, "bits": 4}, "P701"),
        ({"quant_method": "bnb"}, "P701"),
        ({"quant_method": "gptq", "load_in_4bit": True}, "P701"),
        ({"load_in_4bit": True, "bnb_4bit_quant_typ": "nf4"}, "P702"),
        ({"quant_method": "bitsandbytes", "bits": 4}, "P702"),
        ({"quant_method": "bitsandbytes"}, "P703"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "P703"),
        ({"load_in_4bit": "yes"}, "P703"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf5"}, "P703"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": ["nf4"]}, "P703"),
        ({"load_in_4bit": True, "bnb_4bit_compute_dtype": "int8"}, "P703"),
        ({"quant_method": "hqq", "x": {"auto_map": {"A": "b.C"}}}, "P703"),
    ],
)
def test_quantization_wrong_settings(settings: Any, named: str) -> None:
    with pytest.raises(ValueError, match=BEGINNINGS[named]):
        check_quantization(settings)


@pytest.mark.parametrize(
    "settings",
    [
        None,
        *SETTINGS,
        {**NF4, "quant_method": "bitsandbytes"},
        {**INT8, "load_in_4bit": False},
    ],
)
def test_quantization_right_settings(settings: Any) -> None:
    check_quantization(settings)


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_errors_of_transformers_are_told() -> None:
    with pytest.raises(ValueError, match="llm_int8_threshold must be a float"):
        check_quantization({"load_in_8bit": True, "llm_int8_threshold": "6"})


def test_quantization_missing_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = compute.find_spec
    monkeypatch.setattr(
        compute,
        "find_spec",
        lambda name: None if name == "bitsandbytes" else find(name),
    )
    check_quantization(NF4)
    for call in (lambda: check_packages(NF4), lambda: load(folder)):
        with pytest.raises(ValueError, match=r"^Quantized weights need bitsandbytes"):
            call()


# Loading and decoding


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("settings", SETTINGS)
def test_quantization_logits_are_those_of_transformers(
    folder: Path, settings: dict[str, Any]
) -> None:
    lm = load(folder, settings)
    expected = sequence_logits(lm.model)
    assert lm.layers is not None
    # 8-bit products round their inputs as well, so small differences grow
    most = 0.03 if settings is INT8 else 1e-5
    assert (logits_of(lm) - expected).norm() < most * expected.norm()
    plain = sequence_logits(load(folder, None).model)
    assert (plain - expected).norm() > 0.01 * expected.norm()


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantization_weights_are_those_of_transformers(
    folder: Path, dtype: torch.dtype
) -> None:
    lm = load_model(str(folder), quantization=NF4, dtype=dtype)
    config = BitsAndBytesConfig(**NF4, bnb_4bit_compute_dtype=dtype)
    theirs = AutoModelForCausalLM.from_pretrained(
        folder,
        quantization_config=config,
        device_map={"": "cpu"},
        **dtype_option(dtype),
    )
    state, expected = lm.model.state_dict(), theirs.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert linear(lm).compute_dtype == dtype
    assert lm.dtype == dtype


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_keeps_the_compute_dtype_that_is_set(folder: Path) -> None:
    lm = load(folder, {**NF4, "bnb_4bit_compute_dtype": "bfloat16"})
    assert linear(lm).compute_dtype == torch.bfloat16
    assert lm.dtype == torch.float32


@pytest.mark.usefixtures("bitsandbytes", "quiet")
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma"])
def test_quantization_trees_are_decoded_as_sequences(kind: str, tmp_path: Path) -> None:
    lm = load(save(make_lm(kind), tmp_path))
    tree = found(lm, TreeDecoder(**LIMITS))
    assert same(tree, found(lm, BatchDecoder(**LIMITS)))


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_of_a_vocabulary_head(folder: Path) -> None:
    lm = load(folder, {**NF4, "llm_int8_skip_modules": ["embed_tokens"]})
    assert type(lm.model.lm_head).__name__ == "Linear4bit"
    hidden = torch.randn(3, 32)
    ids, places = torch.tensor([5, 2]), torch.tensor([0, 2])
    with torch.inference_mode():
        expected = lm.model.lm_head(hidden)[places][:, ids]
        logits = project(lm.model, hidden, places, ids)
    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_bundled_models_are_quantized_again() -> None:
    lm = load_model("bundled-en-sm", quantization=NF4)
    assert type(linear(lm)).__name__ == "Linear4bit"
    assert not lm.quantized


# Stored quantized


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("with_settings", [False, True])
def test_quantization_of_a_folder_that_is_quantized(
    folder: Path, tmp_path: Path, settings: dict[str, Any], with_settings: bool
) -> None:
    lm = load(folder, settings)
    again = load(save(lm, tmp_path), settings if with_settings else None)
    assert type(linear(again)) is type(linear(lm))
    assert torch.equal(logits_of(again), logits_of(lm))


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_compute_dtype_of_a_folder_is_the_dtype(
    folder: Path, tmp_path: Path
) -> None:
    save(load(folder), tmp_path)
    lm = load_model(str(tmp_path), dtype=torch.bfloat16)
    assert linear(lm).compute_dtype == torch.bfloat16


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("other", [INT8, {**NF4, "bnb_4bit_quant_type": "fp4"}])
def test_quantization_that_contradicts_the_folder(
    folder: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    save(load(folder), tmp_path)
    with pytest.raises(ValueError, match=r"contradicts .* stored quantized"):
        load(tmp_path, other)


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_of_a_file_that_is_overwritten(
    folder: Path, tmp_path: Path
) -> None:
    save(load(folder, NESTED), tmp_path)
    lm = load(tmp_path, None)
    expected = logits_of(lm)
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as weights:
        weights.write(bytes(file.stat().st_size))
    assert torch.equal(logits_of(lm), expected)


# Copies


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda lm: pickle.loads(pickle.dumps(lm)),
    "replica": lambda lm: replica(lm),
}


def replica(lm: LanguageModel) -> LanguageModel:
    prompt = PromptTokens(PROMPT, lm.tokenizer)
    return make_replicas(lm, prompt, ("cpu", "cpu"))[1].lm


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("used", [False, True])
def test_quantization_copies(
    folder: Path, settings: dict[str, Any], kind: str, used: bool
) -> None:
    lm = load(folder, settings)
    expected = logits_of(load(folder, settings) if not used else lm)
    other = COPIES[kind](lm)
    assert type(linear(other).weight) is type(linear(lm).weight)
    for parameter in lm.model.parameters():
        parameter.data.zero_()
    assert torch.equal(logits_of(other), expected)
    again = COPIES[kind](other)
    assert torch.equal(logits_of(again), expected)


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("used", [False, True])
def test_quantization_copies_leave_no_tensor_behind(
    folder: Path, settings: dict[str, Any], used: bool
) -> None:
    lm = load(folder, settings)
    if used:
        logits_of(lm)
    other = lm.copied(torch.device("meta"))
    assert other.tokenizer is lm.tokenizer
    assert other.device.type == "meta"

    def note(tensor: torch.Tensor) -> torch.Tensor:
        devices.add(tensor.device.type)
        return tensor

    devices: set[str] = set()
    copies._Copier(io.BytesIO(), note).dump(other.model)
    assert devices == {"meta"}


def test_quantization_copies_keep_tied_tensors() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    first, second, third = copied([weight, weight, weight.data])
    assert first is second
    assert first is not weight
    assert isinstance(first, torch.nn.Parameter)
    assert not isinstance(third, torch.nn.Parameter)


def test_quantization_copies_of_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be copied or pickled"):
        copied([lambda: None])


# Sharing


@pytest.mark.usefixtures("bitsandbytes")
def test_quantization_is_shared_by_equal_settings(folder: Path) -> None:
    def shared(settings: dict[str, Any] | None) -> LanguageModel:
        cpu = torch.device("cpu")
        placement = Placement(cpu, torch.float32, quantization=settings)
        return load_shared(
            str(folder), placement, revision=None, trust_remote_code=False
        )

    first, plain, other = shared(NF4), shared(None), shared(NESTED)
    assert shared(dict(reversed(NF4.items()))) is first
    assert len({id(lm) for lm in (first, plain, other)}) == 3


# Memory


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")


def in_python() -> None:
    raise MemoryError


def on_a_cpu() -> None:
    torch.empty(1 << 58, dtype=torch.uint8)


@pytest.mark.parametrize("fill", [on_a_gpu, in_python, on_a_cpu])
def test_quantization_is_named_where_a_model_is_too_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[], None]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        fill()

    for place in ("AutoModelForCausalLM.from_pretrained", "on_its_device"):
        with monkeypatch.context() as patched:
            patched.setattr(f"spacy_padellm.lm.loading.{place}", fail)
            with pytest.raises(ValueError, match=r"does not fit.*quantization_config"):
                load(folder, None)


def test_quantization_config_of_an_unknown_method_is_left_to_transformers(
    folder: Path, tmp_path: Path
) -> None:
    lm = load(folder, None)
    save(lm, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "of another program"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits_of(load(tmp_path, None)), logits_of(lm))


# GPUs


def test_quantization_loads_to_one_device(folder: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    settings = {"quant_method": "quanto", "weights": "int8"}
    placement = Placement(torch.device("cuda:1"), torch.bfloat16, quantization=settings)
    options = compute.loading_options(config, placement)
    assert options["device_map"] == {"": "cuda:1"}


@on_cuda
@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize("settings", SETTINGS)
def test_quantization_on_cuda_copies_find_the_same(
    folder: Path, settings: dict[str, Any]
) -> None:
    lm = load_model(str(folder), quantization=settings, device=torch.device("cuda"))
    expected = logits_of(lm)
    for other in (lm.copied(), *map(pickle.loads, [pickle.dumps(lm)])):
        assert torch.equal(logits_of(other), expected)
    other = lm.copied(torch.device("cpu"))
    assert (logits_of(other) - expected.cpu()).norm() < 0.03 * expected.norm().cpu()
