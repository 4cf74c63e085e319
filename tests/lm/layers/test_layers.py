from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from conftest import CONFIGS, make_lm, on_cuda
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from spacy_padellm.compat.onednn import onednn_has_bf16
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.layers.fused import read_layers
from spacy_padellm.lm.layers.projection import ModuleProjection, PackedProjection
from spacy_padellm.lm.layers.stack import Layers
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree, pad_trees

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": None,
}
GEMMA_3 = {
    **SIZES,
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 32,
    "query_pre_attn_scalar": 24,
    "rope_theta": 5000.0,
    "rope_local_base_freq": 50.0,
}
GPT_2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama-biases": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)
    ),
    "llama-all-heads": lambda: LlamaForCausalLM(
        LlamaConfig(**{**SIZES, "num_key_value_heads": 4, "head_dim": 8})
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**{**SIZES, "head_dim": 8})),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SIZES)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA_3)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT_2)),
    "gpt2-no-dropout": lambda: GPT2LMHeadModel(
        GPT2Config(**GPT_2, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    ),
}


def make(kind: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    torch.manual_seed(0)
    model = KINDS[kind]().eval()
    with torch.no_grad():
        # norms and biases start as ones and zeros, which hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return LanguageModel(model.to(dtype), tokenizer=None)


def without_layers(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(lm), "layers", None)


def run_packed(lm: LanguageModel) -> torch.Tensor:
    """Two trees of different lengths, in two passes."""
    cache, trees = TreeKVCache(), [TokenTree(), TokenTree()]
    with torch.inference_mode():
        ends = [
            trees[0].extend(ROOT, [3, 4, 5]),
            3 + trees[1].extend(ROOT, [7, 8, 9, 10, 11]),
        ]
        first, _ = lm.packed_logits(pack(trees, 0), ends, cache)
        trees[0].extend(2, [20, 21])
        trees[1].extend(4, [22])
        second, _ = lm.packed_logits(pack(trees, 2), [0, 1, 2], cache)
    return torch.cat((first, second))


def run_padded(lm: LanguageModel) -> list[torch.Tensor]:
    """Logits, and the gradients of their sum of squares."""
    trees = [TokenTree(bidirectional_span=(0, 2)), TokenTree()]
    for tree, ids in zip(trees, ([3, 4, 5, 6], [9, 8, 7]), strict=True):
        tree.extend(tree.extend(ROOT, ids[:2]), ids[2:])
    lm.model.zero_grad()
    logits, tags = lm.logits(
        pad_trees(trees), [1, 3, 6], tag_positions=[0, 4], tag_ids=[5, 6]
    )
    (logits.square().sum() + tags.square().sum()).backward()
    gradients = [parameter.grad for parameter in lm.model.parameters()]
    return [logits.detach(), tags.detach(), *gradients]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_packed_logits_equal_those_of_transformers(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make(kind)
    assert lm.layers is not None
    found = run_packed(lm)
    without_layers(lm, monkeypatch)
    torch.testing.assert_close(found, run_packed(lm), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_gradients_equal_those_of_transformers(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make(kind)
    found = run_padded(lm)
    without_layers(lm, monkeypatch)
    for tensor, expected in zip(found, run_padded(lm), strict=True):
        largest = float(expected.abs().max())
        assert largest > 0
        limit = max(1e-4, 1e-5 * largest)
        torch.testing.assert_close(tensor, expected, atol=limit, rtol=1e-4)


@pytest.mark.skipif(not onednn_has_bf16(), reason="the processor has no such kernels")
@pytest.mark.parametrize("kind", ["llama-biases", "qwen2", "qwen3", "gemma3", "gpt2"])
def test_layers_packed_weights_give_the_same_logits(kind: str) -> None:
    lm = make(kind, torch.bfloat16)
    expected = run_packed(lm)
    packed = make(kind, torch.bfloat16)
    packed.pack_weights()
    assert packed.layers is not None
    assert isinstance(packed.layers.layers[0].qkv_projection, PackedProjection)
    found = run_packed(packed)
    assert (found - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("drops", [True, False])
def test_layers_training_that_drops_numbers_is_left_to_transformers(
    drops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make("gpt2" if drops else "gpt2-no-dropout")
    lm.model.train()
    runs = count_runs(monkeypatch)
    torch.manual_seed(0)
    found = run_padded(lm)
    assert len(runs) == (not drops)
    run_packed(lm)  # drops nothing
    assert len(runs) == (not drops) + 2
    lm.model.train()
    without_layers(lm, monkeypatch)
    torch.manual_seed(0)
    for tensor, expected in zip(found, run_padded(lm), strict=True):
        torch.testing.assert_close(tensor, expected, atol=1e-4, rtol=1e-4)


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[Layers]:
    runs = []
    run = Layers.__call__

    def noting(layers: Layers, *args: Any) -> torch.Tensor:
        runs.append(layers)
        return run(layers, *args)

    monkeypatch.setattr(Layers, "__call__", noting)
    return runs


@pytest.mark.parametrize("kind", ["gemma", "gemma3", "gpt2"])
def test_layers_of_new_tokens_have_their_embeddings(kind: str) -> None:
    lm = make(kind)
    before = run_packed(lm)
    lm.model.resize_token_embeddings(70, mean_resizing=False)
    after = run_packed(lm)
    assert after.shape[1] == 70
    torch.testing.assert_close(after[:, :64], before, atol=1e-4, rtol=1e-4)


def test_layers_follow_weights_that_are_trained() -> None:
    lm = make("llama")
    before = run_packed(lm)
    with torch.no_grad():
        lm.model.model.layers[0].mlp.up_proj.weight.mul_(2)
    assert not torch.allclose(before, run_packed(lm))


def test_layers_adapters_are_not_passed_over() -> None:
    peft = pytest.importorskip("peft")
    lm = make("llama", torch.bfloat16)
    config = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    adapted = LanguageModel(peft.get_peft_model(lm.model, config).eval(), None)
    adapted.pack_weights()
    assert adapted.layers is not None
    with adapted.model.disable_adapter():
        expected = run_packed(adapted)
    assert (run_packed(adapted) - expected).norm() > 0.02 * expected.norm()


@pytest.mark.parametrize("kind", ["gemma", "gemma3", "llama"])
def test_layers_of_tokens_that_are_trained_with_adapters_equal_those_of_transformers(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [5]}
    )
    model = peft.get_peft_model(make(kind).model, config).eval()
    lm = LanguageModel(model, tokenizer=None)
    assert lm.layers is not None
    found = run_packed(lm)
    without_layers(lm, monkeypatch)
    torch.testing.assert_close(found, run_packed(lm), atol=1e-4, rtol=1e-4)


# adapters that copy attention modules, with their configs
COPIES: list[dict[str, Any]] = [
    {"modules_to_save": ["self_attn"]},
    {"layer_replication": [[0, 2], [1, 2]]},
]


def make_phi3() -> LanguageModel:
    sizes = {**SIZES, "head_dim": 8, "pad_token_id": 0}
    torch.manual_seed(0)
    return LanguageModel(Phi3ForCausalLM(Phi3Config(**sizes)).eval(), tokenizer=None)


def copying(settings: dict[str, Any]) -> Any:
    peft = pytest.importorskip("peft")
    return peft.LoraConfig(
        target_modules=["down_proj"], init_lora_weights=False, **settings
    )


def run_plainly(lm: LanguageModel) -> torch.Tensor:
    """What `run_packed` computes, from a sequence for each token."""
    first, second = [3, 4, 5, 20, 21], [7, 8, 9, 10, 11, 22]
    ends = [first[:3], second[:5], first[:4], first, second]
    with torch.inference_mode():
        rows = [lm.model(torch.tensor([ids])).logits[0, -1] for ids in ends]
    return torch.stack(rows)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("kind", "settings"),
    # transformers 5 does not run a Qwen3 with more layers than its config tells of
    [
        *((kind, each) for kind in ("llama", "phi3") for each in COPIES),
        ("qwen3", COPIES[0]),
    ],
)
def test_layers_that_adapters_copy_equal_those_of_transformers(
    kind: str, fused: bool, settings: dict[str, Any]
) -> None:
    config = copying(settings)
    base = make_phi3() if kind == "phi3" else make(kind)
    model = pytest.importorskip("peft").get_peft_model(base.model, config).eval()
    lm = LanguageModel(model, tokenizer=None, fused_layers=fused)
    assert (lm.layers is not None) == (fused and kind != "phi3")
    torch.testing.assert_close(run_packed(lm), run_plainly(lm), atol=1e-4, rtol=1e-4)


def test_layers_that_an_adapter_copies_later_equal_those_of_transformers() -> None:
    config = copying({})
    model = pytest.importorskip("peft").get_peft_model(make("llama").model, config)
    lm = LanguageModel(model.eval(), tokenizer=None, fused_layers=False)
    run_packed(lm)
    model.add_adapter("later", copying(COPIES[0]))
    model.set_adapter("later")
    torch.testing.assert_close(run_packed(lm), run_plainly(lm), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 1, 1, 0], [1, 0]])
def test_layers_of_gemma_3_that_an_adapter_repeats_keep_their_kind(
    order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make("gemma3")
    # transformers 5 cannot run more layers than the config has kinds
    kinds = [GEMMA_3["layer_types"][index] for index in order]
    sizes = {**GEMMA_3, "layer_types": kinds, "num_hidden_layers": len(order)}
    model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes)).eval()
    weights = lm.model.state_dict()
    model.load_state_dict(
        {
            name: weights[re.sub(r"layers\.(\d+)", lambda m: of(m, order), name)]
            for name in model.state_dict()
        }
    )
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["down_proj"],
        layer_replication=[[index, index + 1] for index in order],
    )
    repeated = LanguageModel(peft.get_peft_model(lm.model, config).eval(), None)
    assert repeated.layers is not None
    found = run_packed(repeated)
    without_layers(lm, monkeypatch)
    expected = run_packed(LanguageModel(model, tokenizer=None))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def of(layer: re.Match[str], order: list[int]) -> str:
    return f"layers.{order[int(layer[1])]}"


@pytest.mark.skipif(not onednn_has_bf16(), reason="the processor has no such kernels")
def test_layers_without_adapters_are_packed_beside_layers_with_adapters() -> None:
    peft = pytest.importorskip("peft")
    lm = make("llama", torch.bfloat16)
    config = peft.LoraConfig(target_modules=["q_proj"])
    adapted = LanguageModel(peft.get_peft_model(lm.model, config).eval(), None)
    adapted.pack_weights()
    assert adapted.layers is not None
    layer = adapted.layers.layers[0]
    assert isinstance(layer.mlp.up, PackedProjection)
    assert isinstance(layer.qkv_projection, ModuleProjection)


def test_layers_other_models_are_left_to_transformers() -> None:
    capped = Gemma2Config(**{**SIZES, "sliding_window": 32})
    assert read_layers(Gemma2ForCausalLM(capped)) is None
    gelu = LlamaConfig(**SIZES, hidden_act="gelu")
    assert read_layers(LlamaForCausalLM(gelu)) is None
    dropout = LlamaConfig(**SIZES, attention_dropout=0.1)
    assert read_layers(LlamaForCausalLM(dropout)) is None


@pytest.mark.parametrize(
    "setting",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"add_cross_attention": True},
    ],
)
def test_layers_unusual_gpt2_is_left_to_transformers(setting: dict[str, Any]) -> None:
    assert read_layers(GPT2LMHeadModel(GPT2Config(**GPT_2, **setting))) is None


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden_activation": "relu"},
        {"attention_dropout": 0.1},
        {"final_logit_softcapping": 30.0},
        {"attn_logit_softcapping": 50.0},
    ],
)
def test_layers_unusual_gemma_is_left_to_transformers(setting: dict[str, Any]) -> None:
    config = Gemma3TextConfig(**{**GEMMA_3, **setting})
    assert read_layers(Gemma3ForCausalLM(config)) is None


def test_layers_unusual_first_gemma_is_left_to_transformers() -> None:
    relu = GemmaConfig(**SIZES, hidden_act="relu")
    assert read_layers(GemmaForCausalLM(relu)) is None
    dropout = GemmaConfig(**SIZES, attention_dropout=0.1)
    assert read_layers(GemmaForCausalLM(dropout)) is None


# On a real GPU

# relative errors of logits and gradients
ERRORS = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.06}


def model_of(kind: str) -> LanguageModel:
    return make(kind) if kind in KINDS else make_lm(kind)


@on_cuda
@pytest.mark.parametrize("dtype", ERRORS)
@pytest.mark.parametrize("kind", [*KINDS, *sorted(CONFIGS)])
def test_layers_on_cuda_packed_logits_are_those_of_a_cpu(
    kind: str, dtype: torch.dtype
) -> None:
    lm = model_of(kind)
    expected = run_packed(lm)
    lm.model.to("cuda", dtype)
    found = run_packed(lm)
    assert found.device.type == "cuda"
    assert (found.cpu().float() - expected).norm() < ERRORS[dtype] * expected.norm()


@on_cuda
@pytest.mark.parametrize("dtype", ERRORS)
def test_layers_on_cuda_attention_is_that_of_the_plain_kernel(
    dtype: torch.dtype,
) -> None:
    lm = make("llama")
    lm.model.to("cuda", dtype)
    found = run_packed(lm)
    with sdpa_kernel(SDPBackend.MATH):
        expected = run_packed(lm)
    assert (found - expected).norm() < ERRORS[dtype] * expected.norm()


@on_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [*KINDS, *sorted(CONFIGS)])
def test_layers_on_cuda_gradients_are_those_of_a_cpu(
    kind: str, dtype: torch.dtype
) -> None:
    lm = model_of(kind)
    expected = flat(run_padded(lm))
    lm.model.to("cuda", dtype)
    found = flat(run_padded(lm))
    assert (found - expected).norm() < ERRORS[dtype] * expected.norm()


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.float().cpu().flatten() for tensor in tensors])
