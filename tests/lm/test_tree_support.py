"""Texts that are too long for a tree: tokens see, or count, only so many others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import LABELS, LIMITS, ManyCounts, make_lm, same
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen3Config,
)
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from spacy_padellm.decoding.base import DecodeJob, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.errors import Warnings
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS
from spacy_padellm.training.loss import supported_trees, tree_loss
from spacy_padellm.training.tags import add_tags
from spacy_padellm.training.targets import TrainingTree, make_mention_trees

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [1.0, 8.0, 20.0, 60.0],
}
LLAMA_4 = {
    "intermediate_size_mlp": 48,
    "head_dim": 8,
    "num_local_experts": 2,
    "attention_chunk_size": 48,
}
WINDOW = {"sliding_window": 48}
GEMMA_3 = {
    **WINDOW,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}


def tuned(floor_scale: int) -> dict[str, Any]:
    """As Llama 4, whose last layer scales queries by the number of their token."""
    settings = {"no_rope_layers": [1, 0], "attn_scale": 3.0, "floor_scale": floor_scale}
    return {**LLAMA_4, **settings, "attention_chunk_size": 8192}


# the shapes of pretrained models; a vocabulary of 262,144 and 7B must not cost more
PRETRAINED: dict[str, PretrainedConfig] = {
    "SmolLM2-135M": LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_theta=100_000.0,
        tie_word_embeddings=True,
        pad_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "Gemma 3 270M": Gemma3TextConfig(
        vocab_size=262_144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        max_position_embeddings=32_768,
    ),
    "Llama-2-7B": LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
    ),
}


def make(kind: type[Any], **settings: Any) -> LanguageModel:
    """A small random model of a kind."""
    tokenizer = make_lm("llama").tokenizer
    config = kind(vocab_size=len(tokenizer), **SIZES, **settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model.eval(), tokenizer)


def longrope() -> LanguageModel:
    """As Phi-3-mini-128k: from 48 tokens on, positions turn by other angles."""
    return make(Phi3Config, rope_scaling=LONGROPE, original_max_position_embeddings=48)


@pytest.mark.parametrize("name", sorted(PRETRAINED))
def test_tree_support_of_the_shapes_of_pretrained_models(name: str) -> None:
    # without memory for weights: the structure decides
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(PRETRAINED[name])
    assert why_no_tree(LanguageModel(model, make_lm("llama").tokenizer), 400) == ""


class OwnAttention(torch.nn.Module):
    """Attention as in a model's own code: by the order of the tokens, without masks."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.inner = attention

    def forward(self, hidden_states: Any, position_embeddings: Any, **_: Any) -> Any:
        inner, (cos, sin) = self.inner, position_embeddings
        heads = (*hidden_states.shape[:-1], -1, inner.head_dim)
        query, key, value = (
            project(hidden_states).view(heads).transpose(1, 2)
            for project in (inner.q_proj, inner.k_proj, inner.v_proj)
        )
        query, key = apply_rotary_pos_emb(query, key, cos, sin)
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=True
        )
        return inner.o_proj(output.transpose(1, 2).flatten(2)), None


class OwnModel(LlamaForCausalLM):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn = OwnAttention(layer.self_attn)


def test_tree_support_ends_where_a_model_has_attention_of_its_own() -> None:
    tokenizer = make_lm("llama").tokenizer
    config = LlamaConfig(vocab_size=len(tokenizer), **SIZES)
    own = OwnModel(config)
    # for a sequence it is right
    same_weights = LlamaForCausalLM(config)
    weights = {name.replace(".inner", ""): w for name, w in own.state_dict().items()}
    same_weights.load_state_dict(weights)
    ids = torch.tensor([[1, 2, 3, 4]])
    torch.testing.assert_close(own(ids).logits, same_weights(ids).logits)
    reasons = [
        why_no_tree(LanguageModel(model.eval(), tokenizer), 8)
        for model in (same_weights, own)
    ]
    assert reasons == ["", Warnings.R102.format(kind="llama")]


@pytest.mark.parametrize(
    ("lm", "setting"),
    [
        (lambda: make(MistralConfig, **WINDOW), "sliding_window"),
        (lambda: make(Gemma3TextConfig, **GEMMA_3), "sliding_window"),
        (longrope, "original_max_position_embeddings"),
        (lambda: make(Llama4TextConfig, **LLAMA_4), "attention_chunk_size"),
        (lambda: make(Llama4TextConfig, **tuned(49)), "floor_scale (less 1)"),
    ],
)
def test_tree_support_ends_with_what_the_model_sees(lm: Any, setting: str) -> None:
    model = lm()
    assert why_no_tree(model, 48) == ""
    assert f"49 tokens is longer than the model's {setting} of 48" in (
        why_no_tree(model, 49)
    )


@pytest.mark.parametrize("setting", ["attn_temperature_tuning", "no_rope_layers"])
def test_tree_support_has_no_end_where_no_layer_is_tuned(setting: str) -> None:
    off = {"attn_temperature_tuning": False, "no_rope_layers": [1, 1]}[setting]
    lm = make(Llama4TextConfig, **{**tuned(49), setting: off})
    assert why_no_tree(lm, 1000) == ""


@pytest.mark.parametrize("floor_scale", [110, 160, 260])
def test_tree_support_passes_are_not_larger_than_the_model_counts(
    floor_scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make(Llama4TextConfig, **tuned(floor_scale))
    prompt = ManyCounts(PRESETS["compact"], lm.tokenizer)
    texts = [f"Berlin {number}" for number in range(8)]
    expected = [
        decode(BatchDecoder(**LIMITS), lm, prompt, [text], LABELS)[0] for text in texts
    ]
    assert all(expected)
    assert not why_no_tree(lm, 0)
    sizes = []
    run = LanguageModel.packed_logits

    def noting(self: LanguageModel, packed: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(packed.ids))
        return run(self, packed, *args, **kwargs)

    monkeypatch.setattr(LanguageModel, "packed_logits", noting)
    assert same(decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS), expected)
    assert sizes
    assert max(sizes) < floor_scale


def training_trees(lm: LanguageModel, *, prefix_lm: bool) -> list[TrainingTree]:
    """A small tree and a wide one, of texts of the same tokens."""
    prompt = make_prompt("compact", prefix_lm=prefix_lm)
    lm.add_special_tokens(prompt.special_tokens)
    golds = [
        GoldText("Paris and Rome", {}, []),
        GoldText(
            "Paris and Rome",
            {"LOC": ["Paris", "Rome"]},
            [(0, 5, "LOC"), (10, 14, "LOC")],
        ),
    ]
    labels, tokens = {"LOC": "location"}, lm.tokens_of(prompt)
    trees = make_mention_trees(tokens, golds, labels, mention_prefix_loss=True)
    if prefix_lm:
        tags = TaughtTags(inside={"location": 3}, begins={"location": 4})
        add_tags(trees, golds, prompt=tokens, labels=labels, tags=tags, weight=0.5)
    return trees


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_tree_support_training_on_trees_that_the_model_cannot_count(
    prefix_lm: bool,
) -> None:
    sizes = [
        tree.size for tree in training_trees(make_lm("llama"), prefix_lm=prefix_lm)
    ]
    lm = make(Llama4TextConfig, **tuned(sizes[1]))
    small, wide = training_trees(lm, prefix_lm=prefix_lm)
    fitted = supported_trees(lm, [small, wide])
    assert fitted[0] is small
    assert len(fitted) == 3
    assert sum(t.weight for t in fitted) == small.weight + wide.weight
    loss = tree_loss(lm, fitted).detach()
    # no token is scaled
    counting = make(Llama4TextConfig, **tuned(1000))
    expected = tree_loss(counting, training_trees(counting, prefix_lm=prefix_lm))
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-4)
    wrong = tree_loss(lm, [small, wide]).detach()
    assert float(wrong) != pytest.approx(float(loss), rel=1e-4)


def test_tree_support_counts_the_tokens_of_a_long_mention_template() -> None:
    lm = make(MistralConfig, sliding_window=1000)
    template = make_prompt("paper-en", mention="<mention {n} of this entity type>")
    prompt = ManyCounts(template, lm.tokenizer)
    (asked,) = prompt.count_prompts(["Berlin"], [*LABELS.values()])
    longest = max(map(len, asked.sequences))
    index = len(lm.tokenizer(template.mention, add_special_tokens=False).input_ids)
    decoder = TreeDecoder(**LIMITS)
    for room, fits in ((0, False), (MAX_COUNT_TOKENS, True)):
        lm.model.config.sliding_window = (
            longest + MAX_COUNT_TOKENS + index + room + LIMITS["max_mention_tokens"] - 4
        )
        assert (not decoder.why_separate(DecodeJob(prompt, LABELS, lm), asked)) == fits
        expected = decode(BatchDecoder(**LIMITS), lm, prompt, ["Berlin"], LABELS)
        assert same(decode(decoder, lm, prompt, ["Berlin"], LABELS), expected)


def test_tree_support_has_no_end_where_a_setting_is_not_used() -> None:
    settings = {**WINDOW, "use_sliding_window": False, "attention_chunk_size": 48}
    kinds = {"layer_types": ["full_attention"] * 2}
    lm = make(Qwen3Config, **settings, **kinds, original_max_position_embeddings=48)
    assert why_no_tree(lm, 1000) == ""


@pytest.mark.parametrize(
    "make_lm", [longrope, lambda: make(Gemma3TextConfig, **GEMMA_3)]
)
def test_tree_support_of_long_texts_gives_what_separate_sequences_give(
    make_lm: Callable[[], LanguageModel],
) -> None:
    lm = make_lm()
    prompt = ManyCounts(PRESETS["paper-en"], lm.tokenizer)
    texts = ["Berlin", "Berlin " * 50]
    expected = [
        decode(BatchDecoder(**LIMITS), lm, prompt, [text], LABELS)[0] for text in texts
    ]
    assert all(expected)
    assert same(decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS), expected)


@pytest.mark.parametrize("fused", [True, False])
def test_tree_support_is_asked_of_the_layers_that_run(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    layers = LanguageModel.layers.fget
    assert layers is not None
    monkeypatch.setattr(
        LanguageModel,
        "layers",
        property(lambda lm: asked.append(layers(lm) is not None) or layers(lm)),
    )
    lm = make(LlamaConfig)
    lm.fused_layers = fused
    assert why_no_tree(lm, 8) == ""
    assert set(asked) == {fused}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tree_support_does_not_depend_on_outliers(dtype: torch.dtype) -> None:
    # as in pretrained models, whose activations have channels of a thousand times more
    lm = make(LlamaConfig, tie_word_embeddings=True)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[:, 3] *= 1000
    lm.model.to(dtype)
    assert why_no_tree(lm, 8) == ""


def test_tree_support_is_found_whatever_the_default_device() -> None:
    lm = make(LlamaConfig)
    torch.set_default_device("meta")
    try:
        assert why_no_tree(lm, 8) == ""
    finally:
        torch.set_default_device(None)


NO_MEMORY = "[enforce fail] DefaultCPUAllocator: can't allocate memory: 10000000 bytes"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("CUDA error: an illegal memory access"), RuntimeError, "CUDA"),
        (torch.AcceleratorError("device lost"), torch.AcceleratorError, "device lost"),
        (RuntimeError(NO_MEMORY), ValueError, "DefaultCPUAllocator.*smaller model"),
        (MemoryError(), ValueError, "MemoryError.*smaller model"),
    ],
)
def test_tree_support_is_not_denied_by_errors_of_the_machine(
    error: Exception,
    kind: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = make(LlamaConfig)
    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "forward", raiser(error))
        with pytest.raises(kind, match=message):
            why_no_tree(lm, 8)
    assert why_no_tree(lm, 8) == ""


def test_tree_support_denial_quotes_the_models_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = make(LlamaConfig)
    error = RuntimeError("shapes do not fit.")
    monkeypatch.setattr(LlamaForCausalLM, "forward", raiser(error))
    reason = Warnings.R102.format(kind="llama")
    assert why_no_tree(lm, 8) == f"{reason} (when it was tried: shapes do not fit)"


def raiser(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
