"""Models of a given shape with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.small_model import learn_tokenizer
from spacy_padellm.prompt.template import PRESETS

# tokens learnt from the benchmark's texts; the rest of the vocabulary stays unused
LEARNT_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a causal language model.

    hidden, intermediate (int): Widths.
    layers, heads, key_value_heads, head_size (int): Sizes of the attention.
    vocabulary (int): Rows of the embeddings.
    context (int): Longest sequence in tokens.
    llama (bool): Whether it is Llama with a separate vocabulary projection; if not, it
        is Qwen3 with tied embeddings.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int
    context: int = 32_768
    llama: bool = False

    def config(self) -> dict[str, Any]:
        """The sizes as settings of a transformers config, without the context."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_size,
        }


SHAPES = {
    "tiny": ModelShape(32, 64, 2, 2, 2, 16, 1_000),
    "7M": ModelShape(256, 768, 6, 4, 4, 64, 8_000),
    "70M": ModelShape(512, 1536, 12, 8, 4, 64, 50_000),
    # SmolLM2-135M's
    "135M": ModelShape(576, 1536, 30, 9, 3, 64, 49_152, context=8192),
    "0.6B": ModelShape(1024, 3072, 28, 16, 8, 128, 151_936),
    # Llama-2-7B's
    "7B": ModelShape(4096, 11008, 32, 32, 32, 128, 32_000, context=4096, llama=True),
}


def make_shaped(
    name: str,
    texts: Iterable[str],
    *,
    device: torch.device,
    dtype: torch.dtype,
    int8: bool | None = False,
    seed: int,
) -> LanguageModel:
    """Make a model with random weights.

    name (str): A key of SHAPES.
    texts (Iterable[str]): Texts that the tokenizer is learnt from.
    device (torch.device): The device.
    dtype (torch.dtype): The dtype of the weights.
    int8 (bool | None): See `LanguageModel.pack_weights`.
    seed (int): The seed of the weights.
    """
    shape = SHAPES[name]
    texts = list(texts)
    if not shape.llama:
        # single words, so that like Qwen's the tokenizer puts no space before a text: a
        # count is one token; Llama's tokenizer puts a space there, a separate token
        texts += [word for text in texts for word in text.split()]
    tokenizer = learn_tokenizer(
        texts,
        vocab_size=min(LEARNT_TOKENS, shape.vocabulary),
        special_tokens=PRESETS["compact"].special_tokens,
    )
    sizes: dict[str, Any] = {
        **shape.config(),
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": not shape.llama,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(**sizes) if shape.llama else Qwen3Config(**sizes)
    old = transformers.__version__.startswith("4.")
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config, **{"torch_dtype" if old else "dtype": dtype}
        )
    lm = LanguageModel(model.eval(), tokenizer)
    lm.pack_weights(int8=int8)  # as for loaded models
    return lm
