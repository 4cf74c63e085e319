"""The context of a model, whatever its config calls it."""

from __future__ import annotations

import re

import pytest
from conftest import LABELS, LIMITS, prepare
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    MptConfig,
    PretrainedConfig,
    XLNetConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from spacy_padellm.decoding.base import DecodeJob
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.context import NO_LIMIT, context_of
from spacy_padellm.lm.language_model import LanguageModel

LENGTH = re.compile(
    "max_(position|sequence|seq|target_position|context)|n_positions|n_ctx"
    "|(seq|sequence|context)_len"
)


def with_default_config(kind: str) -> PretrainedConfig | None:
    """The default config of an architecture's text part; None if it has none."""
    try:
        return CONFIG_MAPPING[kind]().get_text_config()
    except Exception:  # each architecture has other errors
        return None


def test_context_is_read_from_the_config_of_every_architecture() -> None:
    unread = []
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        config = with_default_config(kind)
        if config is not None and context_of(config) == NO_LIMIT:
            names = config.to_dict()
            unread += [f"{kind}: {name}" for name in names if LENGTH.match(name)]
    assert unread == []


@pytest.mark.parametrize(
    ("settings", "context"),
    [
        ({"max_position_embeddings": 0}, NO_LIMIT),
        ({"max_position_embeddings": None}, NO_LIMIT),
        ({"max_position_embeddings": 4096, "seq_length": 2048}, 4096),
        ({"seq_length": 2048}, 2048),  # of ChatGLM
        ({"n_positions": 512}, 512),
    ],
)
def test_context_of_a_config_from_elsewhere(
    settings: dict[str, int], context: int
) -> None:
    assert context_of(PretrainedConfig(**settings)) == context


def test_context_below_zero_is_none() -> None:
    assert context_of(XLNetConfig()) == NO_LIMIT


def test_context_of_mpt_spares_the_texts_that_fit() -> None:
    lm, prompt = prepare("llama", "paper-en")
    config = MptConfig(
        vocab_size=len(lm.tokenizer), d_model=32, n_layers=2, n_heads=4, max_seq_len=96
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    job = DecodeJob(prompt, LABELS, LanguageModel(model, lm.tokenizer))
    texts = ["Angela met Macron", "Angela Merkel met Macron in Berlin . " * 15]
    for decoder in (TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)):
        found = list(decoder.stream(job, [*texts, texts[0]]))
        assert [isinstance(mentions, ValueError) for mentions in found] == [0, 1, 0]
