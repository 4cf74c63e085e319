"""What test files share: small random models, their prompts, a server, a corpus."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from helpers import trained_folder
from pretended_gpu import PretendedGPUs, pretended_gpus
from small_server import SmallServer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import make_prompt
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens

# the models are so small that a second thread only waits
torch.set_num_threads(1)

Test = TypeVar("Test", bound=Any)

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


# those that cannot read token trees: no positions, no masks, or too short a view
OTHERS = {
    "mpt": lambda v: MptConfig(vocab_size=v, d_model=32, n_layers=2, n_heads=4),
    "bloom": lambda v: BloomConfig(vocab_size=v, hidden_size=32, n_layer=2, n_head=4),
    "mamba": lambda v: MambaConfig(vocab_size=v, hidden_size=32, num_hidden_layers=2),
    "mistral": lambda v: MistralConfig(
        **SIZES,
        vocab_size=v,
        intermediate_size=48,
        num_key_value_heads=2,
        sliding_window=8,
    ),
}


def make_lm(kind: str, *, seed: int = 0) -> LanguageModel:
    """A small random model of an architecture, in float32."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = {**CONFIGS, **OTHERS}[kind](len(tokenizer))
    config.eos_token_id = tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_config(config)
    # larger weights than usual, so that answers differ from text to text
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return LanguageModel(model.eval(), tokenizer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the trained pipeline."""
    shutil.copytree(trained_folder(), tmp_path / "nlp")
    return tmp_path / "nlp"


@pytest.fixture(scope="session", params=sorted(CONFIGS))
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return make_lm(request.param)


@pytest.fixture(scope="session")
def llama() -> LanguageModel:
    return make_lm("llama")


# Prompts for them, and texts

LABELS = {"PER": "person", "LOC": "location", "ORG": "organization"}
WORDS = [
    "Angela",
    "Merkel",
    "met",
    "Macron",
    "in",
    "Berlin",
    "Paris",
    "2",
    "10",
    ",",
    ".",
    "北京",
    "</s>",
    "½",
    "New",
    "York",
]
LIMITS = {"max_mentions": 4, "max_mention_tokens": 7}


def random_texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 15))) for _ in range(count)]


class ManyCounts(PromptTokens):
    """Takes nearly all tokens for digits: random models seldom say real ones."""

    def read_count(self, generated: Sequence[int]) -> tuple[int, bool]:
        digits = ""
        for token in generated[: MAX_COUNT_TOKENS - 1]:
            if token % 11 == 0 or token == self.eos:
                return int(digits or 0), True
            digits += str(1 + token % 9)
        return int(digits or 0), len(generated) >= MAX_COUNT_TOKENS


# templates that let a causal model read its text a second time
TWICE = {
    "paper-en": "text:\n{text}\ntext:\n{text}\n",
    "released-en": "{text} {text}\n",  # a token crosses the border of the copies
    "compact": "{text}<|label|>{text}",
}


def prepare(
    kind: str, preset: str, *, prefix_lm: bool = False, **templates: str
) -> tuple[LanguageModel, PromptTokens]:
    lm = make_lm(kind)
    prompt = make_prompt(preset, prefix_lm=prefix_lm, **templates)
    lm.add_special_tokens(prompt.special_tokens)
    return lm, ManyCounts(prompt, lm.tokenizer)


def same(found: list[list[Mention]], expected: list[list[Mention]]) -> bool:
    for a, b in zip(found, expected, strict=True):
        assert [(m.label, m.index, m.text) for m in a] == [
            (m.label, m.index, m.text) for m in b
        ]
        assert [m.score for m in a] == pytest.approx([m.score for m in b], abs=1e-5)
    return True


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Random models hit the limits all the time."""
    with caplog.at_level(logging.WARNING, logger="spacy_padellm"):
        yield


# A server, and what it is to find in the TEXTS of a test file


@pytest.fixture(scope="module")
def model() -> tuple[LanguageModel, PromptTokens]:
    return prepare("llama", "paper-en")


@pytest.fixture(scope="module")
def expected(
    request: pytest.FixtureRequest, model: tuple[LanguageModel, PromptTokens]
) -> list[list[Mention]]:
    return decode(BatchDecoder(**LIMITS), *model, request.module.TEXTS, LABELS)


@pytest.fixture
def prompt(model: tuple[LanguageModel, PromptTokens]) -> PromptTokens:
    return model[1]


@pytest.fixture
def server(model: tuple[LanguageModel, PromptTokens]) -> Iterator[SmallServer]:
    with SmallServer(model[0]) as server:
        yield server


# GPUs


def on_cuda(test: Test) -> Test:
    """Mark a test that needs a real GPU."""
    skip = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    marked: Test = pytest.mark.gpu(skip(test))
    return marked


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGPUs]:
    with pretended_gpus(monkeypatch) as gpus:
        yield gpus


# A pipeline, a corpus and an output folder, for the tests of annotating


@pytest.fixture(scope="module")
def pipeline() -> Path:
    from helpers import trained_folder  # some tests run where spaCy is missing

    return trained_folder()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    from annotate_helpers import some_texts, write_parquet

    return write_parquet(tmp_path / "in.parquet", some_texts(12))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"
