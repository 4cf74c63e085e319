"""The strings of tokens; one tokenizer may be used by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from conftest import SENTENCES, make_tokenizer
from hypothesis import given, strategies as st
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spacy_padellm.lm.files.bundled import BUNDLED
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.token_strings import TokenStrings
from spacy_padellm.prompt.tokens import PromptTokens

TEXTS = [f"Angela Merkel </s> met {n} in Berlin 北京 ." for n in range(40)]
THREADS = 4


@pytest.mark.parametrize("preset", ["paper-en", "released-en"])
def test_token_strings_of_several_threads_are_those_of_one(preset: str) -> None:
    prompt = PromptTokens(PRESETS[preset], make_tokenizer())

    def encode(barrier: Barrier) -> list[object]:
        barrier.wait()
        results: list[object] = []
        for text in TEXTS:
            # special tokens are split here, and kept there: a setting of the tokenizer
            (count_prompts,) = prompt.count_prompts([text], ["person", "place"])
            template = prompt.strings.template("</s> x")
            decoded = prompt.strings.decode(count_prompts.root)
            offsets = prompt.strings.offsets([text, text[:9]])
            results.append((count_prompts, template, decoded, offsets))
        return results

    with ThreadPoolExecutor(THREADS) as pool:
        barrier = Barrier(THREADS, timeout=30)
        of_threads = list(pool.map(encode, [barrier] * THREADS))
    assert of_threads == [encode(Barrier(1))] * THREADS


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer as Llama 2's, which decodes the start of a text without its space."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["</s>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    fast.clean_up_tokenization_spaces = False
    return fast


BYTES = TokenStrings(make_tokenizer())
SENTENCEPIECE = TokenStrings(sentencepiece_tokenizer())
CHARACTERS = st.sampled_from(
    "aZ 1.-\ufffdéßñ王\u0301\u0e01ि🎉🔥❤\ufe0f\u200d👨\n\U000f0001"
)


@given(st.text(CHARACTERS, max_size=20))
def test_token_strings_characters_of_a_text_are_the_text(text: str) -> None:
    (tokens,) = BYTES.plain([text])
    assert "".join(BYTES.characters(tokens)) == text


@pytest.fixture(scope="module")
def bundled() -> TokenStrings:
    """Its tokens may hold a space and the first bytes of a character."""
    folder = BUNDLED["bundled-en-sm"]
    return TokenStrings(AutoTokenizer.from_pretrained(folder))


def test_token_strings_character_is_that_of_its_first_token(
    bundled: TokenStrings,
) -> None:
    (tokens,) = bundled.plain(["in 🎉ë"])
    strings = bundled.characters(tokens)
    assert [string for string in strings if string] == [" in", " 🎉", "ë"]
    assert strings[1] == " 🎉"
    assert bundled.piece(tokens[1])[0] == " "


def test_token_strings_character_that_is_cut_has_private_ones() -> None:
    (tokens,) = BYTES.plain(["🎉"])
    assert BYTES.characters(tokens[:2]) == BYTES.pieces(tokens[:2])
    assert all(piece >= "\U000f0000" for piece in BYTES.pieces(tokens))


@pytest.mark.parametrize("text", ["Angela Merkel met Bob in Berlin .", "a  b", "7"])
def test_token_strings_of_sentencepiece_keep_their_spaces(text: str) -> None:
    (tokens,) = SENTENCEPIECE.plain([text])
    assert "".join(SENTENCEPIECE.pieces(tokens)) == f" {text}"
    assert "".join(SENTENCEPIECE.characters(tokens)) == f" {text}"


def test_token_strings_of_a_vocabulary_with_holes_have_all_its_tokens() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: n for n, character in enumerate(alphabet, start=50)}
    tokenizer = Tokenizer(models.BPE(vocab={"</s>": 0, **vocabulary}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    strings = TokenStrings(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    )
    for character in (*map(chr, range(33, 127)), " "):
        (token,) = strings.plain([character])[0]
        assert strings.tokens_at(character, 0) == {token}
