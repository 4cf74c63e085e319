"""Models that are loaded to several GPUs, which are pretended."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, make_lm, on_cuda, prepare, random_texts, same
from pretended_gpu import MEMORY, PretendedGPUs

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.devices.device_map import DeviceMap
from spacy_padellm.lm.devices.placement import Placement
from spacy_padellm.lm.handle.shared import load_shared
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.lora import with_lora
from spacy_padellm.lm.saving.folder import write_model_folder
from spacy_padellm.lm.task.config import TaskSettings

pytestmark = pytest.mark.usefixtures("quiet")
MakeFolder = Callable[[LanguageModel], str]
TEXTS = random_texts(seed=7, count=4)
LLAMA = {
    "model.embed_tokens": 0,
    "model.rotary_emb": 1,
    "model.layers.0": 0,
    "model.layers.1": "cuda:1",
    "model.norm": 1,
    "lm_head": 1,
}
GPT2 = {
    "transformer.wte": 0,
    "transformer.wpe": 1,
    "transformer.h.0": 0,
    "transformer.h.1": 1,
    "transformer.ln_f": 1,
    "lm_head": 0,  # its weight is that of the embedding
}
MAPS: dict[str, tuple[str, Any]] = {
    "llama": ("llama", LLAMA),
    "gpt2": ("gpt2", GPT2),
    "gemma": ("gemma", {**LLAMA, "lm_head": 0}),
    "auto": ("llama", "auto"),
    "auto, tied": ("gpt2", "auto"),
    "sequential": ("llama", "sequential"),
}


LAYOUTS: dict[str, list[set[str]]] = {
    "sequential": [set()],  # all fits the first GPU
    # transformers 5.24 leaves a small model with tied weights on one GPU
    "auto, tied": [set(), {"cuda:0", "cuda:1"}],
}


@pytest.fixture
def make_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFolder:
    pytest.importorskip("accelerate")
    # transformers 5 loads in threads, in which no GPUs are pretended
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")

    def save(lm: LanguageModel) -> str:
        lm.model.save_pretrained(tmp_path / "base")
        lm.tokenizer.save_pretrained(tmp_path / "base")
        return str(tmp_path / "base")

    return save


@pytest.mark.parametrize("case", MAPS)
def test_split_loaded_model_finds_what_it_finds_on_one_device(
    case: str, gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    kind, device_map = MAPS[case]
    lm, prompt = prepare(kind, "compact")
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert any(expected)
    found = load_model(make_folder(lm), device_map=device_map)
    devices = {str(device) for device in found.shares}
    assert devices in LAYOUTS.get(case, [{"cuda:0", "cuda:1"}])
    assert sum(found.shares.values()) == pytest.approx(1 if found.shares else 0)
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        assert same(decode(decoder, found, prompt, TEXTS, LABELS), expected)
    other = copy.deepcopy(found)
    assert same(decode(TreeDecoder(**LIMITS), other, prompt, TEXTS, LABELS), expected)


@pytest.mark.parametrize("case", ["adapter", "few bits"])
def test_split_model_of_another_form_finds_the_same(
    case: str,
    gpus: PretendedGPUs,
    make_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, prompt = prepare("llama", "compact")
    name = make_folder(base)
    if case == "adapter":
        pytest.importorskip("peft")
        # peft reads an adapter to the first GPU, by ways that are not pretended
        monkeypatch.setattr("peft.peft_model.infer_device", lambda: "cpu")
        lm = load_model(name)
        lm.add_special_tokens(["<new>"])  # makes the head another module
        lm = with_lora(lm, {"r": 2}, name=name, revision=None, new_tokens=[])
    else:
        lm = LanguageModel(base.model, base.tokenizer, quantized=True)
    settings = TaskSettings(prompt=prompt.prompt, labels=LABELS)
    write_model_folder(tmp_path / "model", lm, settings, dtype=torch.float32)
    expected = load_model(str(tmp_path / "model"))
    device_map = {**LLAMA, "lm_head": 0}
    found = load_model(str(tmp_path / "model"), device_map=device_map)
    assert found.output_device == torch.device("cuda:0")
    assert len(found.shares) == 2
    assert found.quantized == (case == "few bits")
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        mentions = decode(decoder, expected, prompt, TEXTS, LABELS)
        assert same(decode(decoder, found, prompt, TEXTS, LABELS), mentions)


def test_split_model_is_shared_by_maps_that_write_devices_in_other_ways(
    gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    name = make_folder(make_lm("llama"))

    def shared(device_map: DeviceMap) -> LanguageModel:
        placement = Placement(
            torch.device("cuda"), torch.float32, device_map=device_map
        )
        return load_shared(name, placement, revision=None, trust_remote_code=False)

    numbers = {"model": 0, "lm_head": 1}
    first = shared(numbers)
    assert shared(MappingProxyType({"lm_head": "cuda:1", "model": "cuda:0"})) is first
    assert shared({**numbers, "lm_head": 0}).shares == {}


def test_split_model_has_no_hooks_of_accelerate(
    gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    model = load_model(make_folder(make_lm("llama")), device_map=LLAMA).model
    assert not any(hasattr(module, "_hf_hook") for module in model.modules())
    assert "to" not in vars(model)
    assert not hasattr(model, "hf_device_map")


@pytest.mark.filterwarnings("ignore:Current model requires")
@pytest.mark.parametrize("room", [0, 60_000])
def test_split_model_that_does_not_fit_is_an_error(
    room: int,
    gpus: PretendedGPUs,
    make_folder: MakeFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = make_folder(make_lm("llama"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (room, MEMORY))
    with pytest.raises(ValueError, match=r"does not fit .* together.*load_in_4bit"):
        load_model(name, device_map="auto")


@pytest.mark.filterwarnings("ignore:Current model requires")
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_split_model_that_is_too_large_for_the_machine_is_an_error(
    bits: int | None,
    gpus: PretendedGPUs,
    make_folder: MakeFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("bitsandbytes")
    name = make_folder(make_lm("llama"))
    none = SimpleNamespace(available=0, total=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, MEMORY))
    monkeypatch.setattr("psutil.virtual_memory", lambda: none)
    few_bits = {f"load_in_{bits}bit": True} if bits else None
    with pytest.raises(ValueError, match="does not fit the memory of the GPUs"):
        load_model(name, device_map="auto", quantization=few_bits)


def test_split_by_a_wrong_name_is_an_error(
    gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    with pytest.raises(ValueError, match=r"device_map does not fit .* and lm_head"):
        load_model(
            make_folder(make_lm("llama")), device_map={" model": 0, "lm_head": 1}
        )


def test_split_map_without_the_last_layers_is_an_error(
    gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    some = {part: device for part, device in LLAMA.items() if part != "model.layers.1"}
    with pytest.raises(ValueError, match=r"device_map does not fit .*model.layers.1"):
        load_model(make_folder(make_lm("llama")), device_map=some)


INSIDE = {
    "layer": {
        "self_attn": 0,
        "mlp": 1,
        "input_layernorm": 0,
        "post_attention_layernorm": 1,
    },
    "norms": {
        "self_attn": 1,
        "mlp": 1,
        "input_layernorm": 0,
        "post_attention_layernorm": 0,
    },
    "attention": {
        **{f"self_attn.{kind}_proj": kind in "qk" for kind in "qkvo"},
        "mlp": 0,
        "input_layernorm": 0,
        "post_attention_layernorm": 0,
    },
}


@pytest.mark.parametrize("case", INSIDE)
def test_split_layer_is_an_error(
    case: str, gpus: PretendedGPUs, make_folder: MakeFolder
) -> None:
    device_map = {part: on for part, on in LLAMA.items() if part != "model.layers.0"}
    for part, device in INSIDE[case].items():
        device_map[f"model.layers.0.{part}"] = int(device)
    message = r"model\.layers\.0 of .* \['cuda:0', 'cuda:1'\]"
    with pytest.raises(ValueError, match=message):
        load_model(make_folder(make_lm("llama")), device_map=device_map)


@pytest.mark.parametrize("device_map", ["auto", {"model": 1, "lm_head": "cuda:1"}])
def test_split_model_on_one_device_is_a_plain_one(
    device_map: Any,
    gpus: PretendedGPUs,
    make_folder: MakeFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if device_map == "auto":
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    lm, prompt = prepare("llama", "compact")
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    found = load_model(make_folder(lm), device_map=device_map)
    assert found.shares == {}
    assert found.device == torch.device("cuda", 0 if device_map == "auto" else 1)
    assert same(decode(TreeDecoder(**LIMITS), found, prompt, TEXTS, LABELS), expected)


# On real GPUs


@on_cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("device_map", ["balanced", LLAMA])
def test_split_on_cuda_finds_what_a_cpu_finds(
    device_map: Any, make_folder: MakeFolder
) -> None:
    lm, prompt = prepare("llama", "compact")
    found = load_model(make_folder(lm), device_map=device_map)
    assert len(found.shares) == 2
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        expected = decode(decoder, lm, prompt, TEXTS, LABELS)
        mentions = decode(decoder, found, prompt, TEXTS, LABELS)
        assert [[m.text for m in text] for text in mentions] == [
            [m.text for m in text] for text in expected
        ]
