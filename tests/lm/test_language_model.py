"""Models with several configs: of text and images, or with copied layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_lm
from transformers import AutoModelForCausalLM, Gemma3Config

from spacy_padellm.compat.transformers import (
    attention_name,
    attention_names,
    configs_of,
    set_attention,
)
from spacy_padellm.lm.attention.cascade import can_cascade
from spacy_padellm.lm.attention.padded import training_attention
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree


def with_images(**settings: Any) -> LanguageModel:
    """A small random model of text and images, as Gemma 3."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    tokenizer = make_lm("llama").tokenizer
    text = {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer)}
    config = Gemma3Config(
        text_config={**sizes, **text, "num_hidden_layers": 2, **settings},
        vision_config={**sizes, "num_hidden_layers": 1, "image_size": 28},
        mm_tokens_per_image=4,
    )
    return LanguageModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer)


def test_language_model_with_images_has_the_context_of_its_text_part() -> None:
    assert with_images(max_position_embeddings=500).context == 500


def test_language_model_with_images_may_cap_the_scores_of_its_text_part() -> None:
    for caps in (None, 50.0):
        model = with_images(attn_logit_softcapping=caps).model
        assert can_cascade(model) == (caps is None)
        before = attention_name(model.config)
        with training_attention(model, 16, causal=True):
            swapped = attention_name(model.config) != before
        assert swapped == (caps is None)


def test_language_model_with_images_runs_on_trees() -> None:
    lm, tree = with_images(), TokenTree()
    assert not why_no_tree(lm, 8)
    stem = tree.extend(ROOT, [1, 2, 3])
    ends = [tree.extend(stem, branch) for branch in ([4, 5], [6, 7])]
    with torch.inference_mode():
        found, _ = lm.packed_logits(pack([tree], 0), ends, TreeKVCache())
        sequences = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 6, 7]])
        expected = lm.model(sequences).logits[:, -1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["flash_attention_2", "padellm_tree"])
def test_language_model_with_images_is_tried_without_attention_of_a_gpu_or_pass(
    name: str,
) -> None:
    lm = with_images()
    set_attention(lm.model.config.get_text_config(), name)
    assert not why_no_tree(lm, 8)


def test_language_model_trains_layers_that_adapters_copied_with_its_attention() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        target_modules=["down_proj"], modules_to_save=["self_attn"]
    )
    model = peft.get_peft_model(make_lm("llama").model, config)
    configs = configs_of(model)
    before = attention_names(configs)
    with training_attention(model, 16, causal=True):
        assert attention_names(configs) == ["eager"] * 3  # the model's, and a layer's
    assert attention_names(configs) == before == ["sdpa"] * 3
