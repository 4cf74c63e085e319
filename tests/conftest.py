"""Small random models and the tokenizers that go with them."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from spacy_padellm.lm import LanguageModel

# the models are so small that a second thread only waits
torch.set_num_threads(1)

SENTENCES = [
    "Angela Merkel met Emmanuel Macron in Berlin .",
    "text: Paris , France entity type: person location <num> <mention 1>",
    "The 2 banks of 10 towns : 3 4 5 6 7 8 9 0",
    "文本 指定标签 第 文段 数量 北京 上海",
]


def make_tokenizer(*, vocab_size: int = 400) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "llama": lambda v: LlamaConfig(
        **SIZES, vocab_size=v, intermediate_size=48, num_key_value_heads=2
    ),
    "qwen3": lambda v: Qwen3Config(
        **SIZES, vocab_size=v, intermediate_size=48, num_key_value_heads=2, head_dim=8
    ),
    "gpt2": lambda v: GPT2Config(vocab_size=v, n_embd=32, n_layer=2, n_head=4),
    "gemma": lambda v: GemmaConfig(
        **SIZES, vocab_size=v, intermediate_size=48, num_key_value_heads=1, head_dim=8
    ),
    "gemma2": lambda v: Gemma2Config(
        **SIZES, vocab_size=v, intermediate_size=48, num_key_value_heads=2, head_dim=8
    ),
}


def make_lm(kind: str, *, seed: int = 0) -> LanguageModel:
    """A small random model of an architecture, in float32."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = CONFIGS[kind](len(tokenizer))
    config.eos_token_id = tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_config(config)
    # larger weights than usual, so that answers differ from text to text
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model.eval(), tokenizer)


@pytest.fixture(scope="session", params=sorted(CONFIGS))
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return make_lm(request.param)


@pytest.fixture(scope="session")
def llama() -> LanguageModel:
    return make_lm("llama")
