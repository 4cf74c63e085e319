"""Small causal LMs from scratch: a tokenizer learnt from texts, random weights."""

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
    """Size of a small Qwen3-like model, whose embeddings are tied.

    vocab_size (int): Tokens of the tokenizer, special tokens included.
    hidden_size, intermediate_size (int): Widths.
    layers, heads, key_value_heads (int): Numbers of each.
    context (int): Longest sequence in tokens.
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
        # rotary positions turn pairs of numbers
        fits = fits and self.hidden_size % (2 * self.heads) == 0
        if not (fits and self.heads % self.key_value_heads == 0):
            raise ValueError(Errors.P137.format(sizes=sizes))


def learn_tokenizer(
    texts: Iterable[str], *, vocab_size: int, special_tokens: Sequence[str]
) -> Any:
    """Learn a byte-level BPE tokenizer.

    Digits and Han characters are tokens of their own, so that a mention's tokens are
    tokens of the text. If words are parted by blanks, a text that starts with no Han
    character starts with a blank, so that a word is the same token at the start of a
    text or mention as inside.

    texts (Iterable[str]): The training texts.
    vocab_size (int): Tokens at most.
    special_tokens (Sequence[str]): The prompt's special tokens.
    RETURNS (transformers.PreTrainedTokenizerFast): The tokenizer.
    """
    texts = list(texts)
    tokenizer = Tokenizer(models.BPE())
    blanks = sum(" " in text for text in texts)
    if blanks * 2 > len(texts):
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
    """A model with random weights and a tokenizer learnt from texts.

    The weights come from torch's global random state.
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
    # on short rows plain products train faster than the fused attention
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return LanguageModel(model.float().eval(), tokenizer)
