"""Small causal LMs from scratch: a trained tokenizer and random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from spacy_padellm.checks import is_whole
from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel

EOS = "<|end|>"


@dataclass(frozen=True, slots=True)
class SmallShape:
    """The size of a small Qwen3 model with tied embeddings.

    vocab_size (int): Number of tokens, including special tokens.
    hidden_size, intermediate_size (int): Widths of the layers.
    layers, heads, key_value_heads (int): Number of layers, and of heads per layer.
    context (int): Length of the longest sequence in tokens.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    context: int

    def __post_init__(self) -> None:
        sizes = asdict(self)
        fits = all(is_whole(size) and size >= 1 for size in sizes.values())
        # rotary embeddings rotate pairs of numbers
        fits = fits and self.hidden_size % (2 * self.heads) == 0
        if not (fits and self.heads % self.key_value_heads == 0):
            raise ValueError(Errors.P137.format(sizes=sizes))


def learn_tokenizer(
    texts: Iterable[str], *, vocab_size: int, special_tokens: Sequence[str]
) -> Any:
    """Train a byte-level BPE tokenizer.

    Each digit and each Han character is a separate token, so that the tokens of a
    mention are tokens of the text. If words are separated by spaces, a space is added
    before each text that does not start with a Han character. A word then has the same
    token at the start of a text or mention as inside.

    texts (Iterable[str]): The training texts.
    vocab_size (int): The largest number of tokens.
    special_tokens (Sequence[str]): The special tokens of the prompt.
    RETURNS (transformers.PreTrainedTokenizerFast): The tokenizer.
    """
    texts = list(texts)
    tokenizer = Tokenizer(models.BPE())
    with_spaces = sum(" " in text for text in texts)
    if with_spaces * 2 > len(texts):
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Prepend(" "),
                normalizers.Replace(Regex(r"\A (?=\p{Han})"), ""),
            ]
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOS, *special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=EOS,
        additional_special_tokens=list(special_tokens),
        clean_up_tokenization_spaces=False,
    )


def make_lm(
    texts: Iterable[str], shape: SmallShape, *, special_tokens: Sequence[str]
) -> LanguageModel:
    """Make a model with random weights and a tokenizer trained on texts.

    The weights are drawn from torch's global random state.

    texts (Iterable[str]): The texts to train the tokenizer on.
    shape (SmallShape): The model's size.
    special_tokens (Sequence[str]): The special tokens of the prompt.
    """
    tokenizer = learn_tokenizer(
        texts, vocab_size=shape.vocab_size, special_tokens=special_tokens
    )
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.hidden_size // shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    # for short rows, eager attention trains faster than fused attention
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return LanguageModel(model.float().eval(), tokenizer)
