"""Weights in few bits: what is read back is what was rounded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from conftest import make_lm
from helpers import (
    gold_examples,
    make_nlp,
    model_folder,
    named,
    pipe_of,
    predictions,
    train,
)
from hypothesis import given, settings, strategies as st
from safetensors import SafetensorError
from safetensors.torch import save_file
from spacy.language import Language
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.quantization.storage import (
    QUANTIZED_FILE,
    SMALL_MODEL,
    bits_of,
    read_quantized,
    rounded,
    write_quantized,
)


@pytest.mark.parametrize(
    ("codes", "scales"),
    [
        (torch.ones(1, 1, 200, dtype=torch.int8), torch.ones(200, 1)),
        (torch.ones(2, 1, 4, dtype=torch.int8), torch.ones(1, 1)),
        (torch.ones(2, 4, dtype=torch.int8), torch.ones(2, 4)),
        (torch.ones(2, 1, 4), torch.ones(2, 1)),
        (torch.ones(2, 1, 4, dtype=torch.int8), None),
    ],
)
def test_quantized_weights_that_do_not_fit_their_scales_are_refused(
    codes: torch.Tensor, scales: torch.Tensor | None, tmp_path: Path
) -> None:
    tensors = {"w.codes": codes} | ({} if scales is None else {"w.scales": scales})
    save_file(tensors, tmp_path / QUANTIZED_FILE)
    with pytest.raises(SafetensorError, match="do not fit their scales"):
        read_quantized(tmp_path, dtype=torch.float32)


@given(
    rows=st.integers(1, 3),
    columns=st.sampled_from([1, 6, 96, 127, 130, 576]),
    bits=st.sampled_from([4, 8]),
    seed=st.integers(0, 99),
)
def test_quantized_error_is_at_most_one_step(
    rows: int, columns: int, bits: int, seed: int
) -> None:
    bits = bits if columns % 2 == 0 else 8  # two codes of 4 bits make a byte
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=generator)
    step = matrix.abs().amax(dim=1, keepdim=True) / (1 << (bits - 1))
    # the scale is rounded to 11 bits, and multiplied by up to 128
    assert ((rounded(matrix, bits) - matrix).abs() <= 1.0625 * step).all()


class Weights(nn.Module):
    """A model of a matrix in 8 bits and one in 4, as training rounds them."""

    def __init__(self, values: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(rounded(values, 8).to(dtype))
        self.layer = nn.Linear(1, 1)
        self.layer.weight = nn.Parameter(rounded(values, 4).to(dtype))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.embedding


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(-24, 3),
    seed=st.integers(0, 999),
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
)
def test_quantized_weights_that_were_rounded_are_saved_as_they_are(
    size: int, seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = 2.0**size * torch.randn(8, SMALL_MODEL, generator=generator)
    model = Weights(values, dtype)
    bits = bits_of(model)
    assert bits == {"embedding.weight": 8, "layer.weight": 4}
    with TemporaryDirectory() as folder:
        write_quantized(model, Path(folder))
        read = read_quantized(Path(folder), dtype=dtype)
    for name in bits:
        assert torch.equal(read[name], model.get_parameter(name)), name


def test_quantized_zeros_stay_zeros() -> None:
    assert not rounded(torch.zeros(2, 96), 4).any()


@pytest.mark.parametrize("width", [SMALL_MODEL - 64, SMALL_MODEL])
def test_quantized_bits_of_small_models_are_more(width: int) -> None:
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=1, tie_word_embeddings=True
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    bits = bits_of(model)
    assert bits.pop("model.embed_tokens.weight") == 8
    assert set(bits.values()) == {8 if width < SMALL_MODEL else 4}


@pytest.mark.parametrize(("width", "bits"), [(97, 8), (130, 4), (210, 4), (254, 8)])
def test_quantized_weights_of_any_width_are_written_and_read(
    width: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_padellm.lm.quantization.storage.SMALL_MODEL", 0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = AutoModelForCausalLM.from_config(config)
    name = "model.layers.0.mlp.down_proj.weight"
    assert bits_of(model)[name] == bits
    write_quantized(model, tmp_path)
    read = read_quantized(tmp_path, dtype=torch.float32)
    weight = model.get_parameter(name).detach()
    assert torch.equal(read[name], rounded(weight, bits))


@pytest.mark.parametrize("small", [0, SMALL_MODEL])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_quantized_weights_are_read_as_they_were_rounded(
    family: str, small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_padellm.lm.quantization.storage.SMALL_MODEL", small)
    model = make_lm(family).model
    write_quantized(model, tmp_path)
    read = read_quantized(tmp_path, dtype=torch.float32)
    bits = bits_of(model)
    assert set(bits.values()) == ({8} if small else {4, 8})
    assert set(read) == {name for name, _ in model.named_parameters()}
    for name, weight in model.named_parameters():
        expected = rounded(weight.detach(), bits[name]) if name in bits else weight
        assert torch.equal(read[name], expected), name


def quantized_pipeline(folder: Path, *, dtype: str = "bfloat16") -> LanguageModel:
    """Train a pipeline with quantized weights, and save it."""
    training = {"@misc": "spacy-padellm.Training.v1", "quantized": True}
    model = named(model_folder(), model={"dtype": dtype})
    nlp = make_nlp(model=model, training=training)
    train(nlp, steps=2)
    nlp.to_disk(folder)
    return pipe_of(nlp).handle.lm()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_quantized_model_is_loaded_with_the_weights_that_training_used(
    dtype: str, tmp_path: Path
) -> None:
    used = quantized_pipeline(tmp_path, dtype=dtype)
    folder = tmp_path / "padellm_ner" / "model"
    assert (folder / QUANTIZED_FILE).is_file()
    assert not (folder / "model.safetensors").exists()
    loaded = load_model(str(folder), dtype=used.dtype)
    assert loaded.quantized
    pairs = zip(
        loaded.model.state_dict().items(),
        used.model.state_dict().items(),
        strict=True,
    )
    for (name, found), (_, expected) in pairs:
        assert torch.equal(found, expected), name


def test_quantized_pipeline_answers_after_saving(tmp_path: Path) -> None:
    quantized_pipeline(tmp_path)
    folder = tmp_path / "padellm_ner" / "model"
    nlp = make_nlp(model=named(folder))
    found = predictions(nlp)
    assert any(found)
    again = make_nlp(model=named(folder)).from_bytes(nlp.to_bytes())
    assert predictions(again) == found


def test_quantized_training_without_it_saves_whole_weights(tmp_path: Path) -> None:
    quantized_pipeline(tmp_path / "first")
    training = {"@misc": "spacy-padellm.Training.v1", "quantized": False}
    folder = tmp_path / "first" / "padellm_ner" / "model"
    nlp = make_nlp(model=named(folder), training=training)
    train(nlp, steps=1)
    nlp.to_disk(tmp_path / "second")
    assert (tmp_path / "second/padellm_ner/model/model.safetensors").is_file()


LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}
QUANTIZED = {"@misc": "spacy-padellm.Training.v1", "quantized": True}


def adapted(**config: Any) -> Language:
    """A pipeline that trains an adapter."""
    pytest.importorskip("peft")
    return make_nlp(model=named(model_folder(), model={"lora": LORA}), **config)


def test_quantized_adapters_are_refused_before_and_in_the_training() -> None:
    nlp = adapted(training=QUANTIZED)
    examples = gold_examples(nlp)
    with pytest.raises(ValueError, match=r"adapters \(LoRA\).*merge_and_unload"):
        nlp.initialize(lambda: examples)
    with pytest.raises(ValueError, match=r"adapters \(LoRA\).*merge_and_unload"):
        nlp.update(examples)


def test_quantized_training_of_an_adapters_folder_is_refused(tmp_path: Path) -> None:
    nlp = adapted()
    train(nlp, steps=1)
    nlp.to_disk(tmp_path)
    model = named(tmp_path / "padellm_ner" / "model")
    for is_loaded in (False, True):
        again = make_nlp(model=model, training=QUANTIZED)
        if is_loaded:
            pipe_of(again).handle.lm()
        with pytest.raises(ValueError, match=r"adapters \(LoRA\).*merge_and_unload"):
            again.initialize(lambda: gold_examples(nlp))
    assert pipe_of(make_nlp(model=model)).handle.lm().model.peft_config


def test_quantized_corrupt_file_is_an_error(tmp_path: Path) -> None:
    quantized_pipeline(tmp_path)
    folder = tmp_path / "padellm_ner" / "model"
    (folder / QUANTIZED_FILE).write_bytes(b"cut off")
    with pytest.raises(ValueError, match="are corrupt"):
        load_model(str(folder))
