"""Models of text and images: their text part has the settings that matter."""

from __future__ import annotations

from typing import Any

from conftest import make_lm
from transformers import AutoModelForCausalLM, Gemma3Config

from spacy_padellm.compat.transformers import attention_name
from spacy_padellm.lm.attention.cascade import can_cascade
from spacy_padellm.lm.attention.padded import training_attention
from spacy_padellm.lm.language_model import LanguageModel


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
