from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from pretended_gpu import PretendedGPUs
from test_layers import SIZES, make, run_packed
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from spacy_padellm.compat.onednn import onednn_has_bf16, onednn_has_int8
from spacy_padellm.decoding.replicas import make_replicas
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.layers import fused, int8, onednn
from spacy_padellm.lm.layers.int8 import (
    Int8Layer,
    Int8Projection,
    SpreadProjection,
    quantize,
)
from spacy_padellm.lm.layers.layer import FloatLayer
from spacy_padellm.lm.layers.norms import RMSNorm
from spacy_padellm.lm.layers.projection import ModuleProjection, PackedProjection
from spacy_padellm.prompt.template import make_prompt

needs_int8 = pytest.mark.skipif(
    not onednn_has_int8(), reason="the processor has no 8-bit products"
)
HAVE_NO_BIASES = ["llama", "llama-all-heads", "mistral", "qwen2", "qwen3"]
ERROR = 0.05  # of logits, relative


def make_int8(kind: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    model, tokenizer = make(kind, dtype).model, make_tokenizer()
    model.resize_token_embeddings(max(64, len(tokenizer)), mean_resizing=False)
    return LanguageModel(model, tokenizer)


def first_layer(lm: LanguageModel) -> Any:
    assert lm.layers is not None
    return lm.layers.layers[0]


numbers = st.floats(-1e4, 1e4, width=32, allow_nan=False)


@given(arrays(np.float32, (3, 8), elements=numbers))
def test_int8_codes_are_the_nearest_steps_of_a_row(rows: np.ndarray[Any, Any]) -> None:
    x = torch.from_numpy(rows)
    codes = quantize(x)
    steps = codes.scale / 126.4
    restored = (codes.values.float() - 128) * steps
    assert ((restored - x).abs() <= steps * 0.501).all()


# far above the least scale, where rows of all lengths have the same codes
@given(
    arrays(np.float32, (2, 8), elements=st.integers(-999, 999)), st.floats(0.01, 100)
)
def test_int8_codes_are_the_same_for_a_row_of_another_length(
    rows: np.ndarray[Any, Any], length: float
) -> None:
    x = torch.from_numpy(rows)
    codes, longer = quantize(x), quantize(x * length)
    difference = codes.values.short() - longer.values.short()
    assert difference.abs().max() <= 1  # where the rounding differs


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 32, 48), (130, 576, 960)])
def test_int8_products_are_near_those_of_floats(
    rows: int, inputs: int, outputs: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    codes = quantize(x.to(dtype))
    with torch.inference_mode():
        half = outputs // 2
        projection = Int8Projection(weight[:half], weight[half:])
        found = projection(codes, dtype) * codes.scale
    expected = x @ weight.T
    assert (found - expected).norm() < 0.015 * expected.norm()


@needs_int8
def test_int8_products_of_a_row_are_the_same_in_any_batch() -> None:
    torch.manual_seed(0)
    x, projection = torch.randn(64, 256), Int8Projection(torch.randn(128, 256))
    together = projection(quantize(x), torch.float32)
    alone = projection(quantize(x[7:8]), torch.float32)
    assert torch.equal(together[7:8], alone)


@needs_int8
def test_int8_rows_that_are_no_numbers_have_outputs_that_are_none() -> None:
    x = torch.ones(3, 32)
    x[1, 5] = float("nan")
    projection = Int8Projection(torch.ones(16, 32))
    codes = quantize(x)
    found = projection(codes, torch.float32) * codes.scale
    assert found[1].isnan().all()
    assert not found[[0, 2]].isnan().any()


@needs_int8
def test_int8_zeros_stay_zeros() -> None:
    codes = quantize(torch.zeros(2, 32))
    found = Int8Projection(torch.zeros(16, 32))(codes, torch.float32) * codes.scale
    assert not found.any()


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_large_channels_leave_the_others_their_range(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm: Any = torch.nn.Module()
    norm.weight = torch.rand(192, dtype=dtype) + 0.5
    linear = torch.nn.Linear(192, 64, bias=False, dtype=dtype).requires_grad_(False)
    x = torch.randn(32, 192)
    x[:, 3] *= 50
    linear.weight[:, 3] *= 0.02  # as in LLMs, the others matter, too
    normed = torch.nn.functional.rms_norm(x, (192,), norm.weight.float(), eps=1e-6)
    expected = normed @ linear.weight.float().T

    def error(outputs: torch.Tensor) -> float:
        return float((outputs.float() - expected).norm() / expected.norm())

    with torch.inference_mode():
        outputs, scale = SpreadProjection(RMSNorm(norm, 1e-6), linear)(x.to(dtype))
        codes = quantize(normed.to(dtype))
        plain = Int8Projection(linear.weight)(codes, dtype) * codes.scale
    assert error(outputs * scale) < 0.5 * error(plain)


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", HAVE_NO_BIASES)
def test_int8_logits_are_near_those_of_floats(kind: str, dtype: torch.dtype) -> None:
    lm = make_int8(kind, dtype)
    expected = run_packed(lm).float()
    lm = make_int8(kind, dtype)
    lm.pack_weights(int8=True)
    found = run_packed(lm).float()
    assert isinstance(first_layer(lm), Int8Layer)
    assert 0 < (found - expected).norm() < ERROR * expected.norm()


@needs_int8
def test_int8_weights_are_only_used_where_they_were_asked_for() -> None:
    lm = make_int8("llama")
    lm.pack_weights()
    assert isinstance(first_layer(lm), FloatLayer)
    lm.pack_weights(int8=True)
    assert lm.int8
    assert isinstance(first_layer(lm), Int8Layer)
    lm.unpack_weights()
    assert not lm.int8
    assert isinstance(first_layer(lm), FloatLayer)


def make_stored(**options: Any) -> LanguageModel:
    """A model whose weights are stored in few bits, and that is wide."""
    sizes = {**SIZES, "hidden_size": 512, "intermediate_size": 64, **options}
    model = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    return LanguageModel(model, make_tokenizer(), quantized=True)


@pytest.fixture
def no_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "cpu_has_amx", lambda: False)


@needs_int8
@pytest.mark.usefixtures("no_amx")
def test_int8_weights_in_few_bits_use_them_by_default() -> None:
    lm = make_stored()
    lm.pack_weights(int8=None)
    assert lm.int8
    assert isinstance(first_layer(lm), Int8Layer)
    assert copy.deepcopy(lm).int8
    lm.pack_weights(int8=False)
    assert not lm.int8


@needs_int8
@pytest.mark.usefixtures("no_amx")
def test_int8_is_no_default_where_it_is_not_known_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, narrow, unfused = make_stored(), make_stored(hidden_size=256), make_stored()
    plain.quantized, unfused.fused_layers = False, False
    biased = make_stored(mlp_bias=True)
    for lm in (plain, narrow, unfused, biased):
        lm.pack_weights(int8=None)
        assert not lm.int8
    monkeypatch.setattr(fused, "cpu_has_amx", lambda: True)
    amx = make_stored()
    amx.pack_weights(int8=None)
    assert not amx.int8
    assert not caplog.messages


@needs_int8
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda lm: pickle.loads(pickle.dumps(lm))]
)
def test_int8_copies_compute_the_same(copied: Any) -> None:
    lm = make_int8("qwen3")
    lm.pack_weights(int8=True)
    expected = run_packed(lm)
    other = copied(lm)
    assert torch.equal(run_packed(other), expected)
    assert isinstance(first_layer(other), Int8Layer)


def without(lm: LanguageModel, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    lm.pack_weights(int8=True)
    (message,) = caplog.messages
    assert reason in message
    assert 'as with dtype = "auto"' in message
    assert lm.layers is None or isinstance(first_layer(lm), FloatLayer)


@needs_int8
def test_int8_models_that_cannot_are_said_to_compute_as_usual(
    caplog: pytest.LogCaptureFixture,
) -> None:
    without(make_int8("llama-biases"), "biases", caplog)
    small = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2)
    without(LanguageModel(GPT2LMHeadModel(small), None), "its kind (gpt2)", caplog)
    without(make_int8("gemma3"), "its kind (gemma3_text)", caplog)
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(target_modules=["v_proj"])
    adapted = peft.get_peft_model(LlamaForCausalLM(LlamaConfig(**SIZES)), settings)
    without(LanguageModel(adapted, None), "adapters", caplog)
    there = LanguageModel(LlamaForCausalLM(LlamaConfig(**SIZES)).to("meta"), None)
    without(there, "on a GPU", caplog)


def adapted_head() -> LanguageModel:
    peft = pytest.importorskip("peft")
    lm = make_int8("llama")
    settings = peft.LoraConfig(target_modules=["lm_head"], init_lora_weights=False)
    return LanguageModel(peft.get_peft_model(lm.model, settings).eval(), lm.tokenizer)


@needs_int8
def test_int8_models_may_have_adapters_outside_of_their_layers() -> None:
    lm = adapted_head()
    expected = run_packed(lm)
    lm.pack_weights(int8=True)
    found = run_packed(lm)
    assert isinstance(first_layer(lm), Int8Layer)
    assert 0 < (found - expected).norm() < ERROR * expected.norm()


@needs_int8
def test_int8_copies_elsewhere_compute_as_is_usual_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lm = make_int8("llama")
    expected = run_packed(lm)
    lm.pack_weights(int8=True)
    pickled = pickle.dumps(lm)
    monkeypatch.setattr(int8, "onednn_has_int8", lambda: False)
    other = pickle.loads(pickled)
    (message,) = caplog.messages
    assert "VNNI" in message
    assert torch.equal(run_packed(other), expected)
    assert isinstance(first_layer(other), FloatLayer)
    assert lm.int8


@needs_int8
def test_int8_copies_on_a_gpu_compute_in_floats(
    gpus: PretendedGPUs, caplog: pytest.LogCaptureFixture
) -> None:
    lm = make_int8("llama")
    lm.pack_weights(int8=True)
    prompt = lm.tokens_of(make_prompt("compact"))
    here, there = make_replicas(lm, prompt, ["cpu", "cuda:0"])
    (message,) = caplog.messages
    assert "on a GPU" in message
    assert isinstance(first_layer(here.lm), Int8Layer)
    assert isinstance(first_layer(there.lm), FloatLayer)


@needs_int8
@pytest.mark.skipif(not onednn_has_bf16(), reason="no bfloat16 products")
@pytest.mark.parametrize(
    ("most", "kind"), [(0, ModuleProjection), (1 << 30, PackedProjection)]
)
def test_int8_weights_in_floats_are_packed_up_to_the_limit(
    most: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "MOST_BYTES", most)
    lm = make_int8("llama", torch.bfloat16)
    lm.pack_weights(int8=True)
    assert type(first_layer(lm)._down) is kind


def test_int8_processors_without_such_products_compute_as_usual(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(int8, "onednn_has_int8", lambda: False)
    without(make_int8("llama"), "VNNI", caplog)


def test_int8_reasons_are_of_known_kinds_alone() -> None:
    gelu = LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu"))
    assert "its kind (llama)" in (fused.why_no_int8_layers(gelu) or "")
