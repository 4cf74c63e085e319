"""How a mention may go on, by the text that it is copied from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pytest
from conftest import make_lm, prepare
from hypothesis import given, settings, strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from spacy_padellm.decoding.limits import Cuts, Limits
from spacy_padellm.decoding.tree.copy_source import CopySource
from spacy_padellm.decoding.tree.text_job import SelectionSettings, TextJob
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens


def test_source_draft_follows_a_place_that_holds_all_tokens() -> None:
    _, prompt = prepare("llama", "paper-en")
    source = CopySource([21, 22, 23, 21, 22, 24, 25], prompt.strings, prompt.eos)
    assert source.draft([21, 22], 2) == [23, 21]
    assert source.draft([22, 24], 4) == [25]
    assert source.draft([29], 4) == []
    assert source.draft([21, 22], 0) == []


def test_source_draft_takes_a_first_word_without_its_blank() -> None:
    prompt = PromptTokens(PRESETS["paper-en"], make_lm("llama").tokenizer)
    blank, plain = prompt.tokenizer([" Angela Merkel", "Angela Merkel"])["input_ids"]
    assert blank[: len(plain)] != plain
    assert blank[-1] == plain[-1]
    source = CopySource(blank, prompt.strings, prompt.eos)
    assert source.draft(plain[:-1], 100) == plain[-1:]


def test_source_draft_prefers_the_start_of_a_word() -> None:
    prompt = PromptTokens(PRESETS["paper-en"], make_lm("llama").tokenizer)
    text = prompt.tokenizer("Xa (a1")["input_ids"]
    (a,) = prompt.tokenizer("a")["input_ids"]
    (digit,) = prompt.tokenizer("1")["input_ids"]
    assert CopySource(text, prompt.strings, prompt.eos).draft([a], 1) == [digit]


def test_source_mention_of_a_blank_alone_does_not_end() -> None:
    prompt = PromptTokens(PRESETS["paper-en"], make_lm("llama").tokenizer)
    text = prompt.tokenizer(" 7")["input_ids"]
    assert prompt.strings.pieces(text) == [" ", "7"]
    source = CopySource(text, prompt.strings, prompt.eos)
    assert prompt.eos not in source.allowed(text[:1])
    assert prompt.eos in source.allowed(text)
    assert not source.fits(text[:1], prompt.eos)
    assert source.fits(text, prompt.eos)


def test_source_mention_does_not_go_on_from_inside_a_word() -> None:
    prompt = PromptTokens(PRESETS["paper-en"], make_lm("llama").tokenizer)
    text, on, (blank,), (a,) = prompt.strings.plain(["Macron ona", "on", " ", "a"])
    assert "ron" in prompt.strings.pieces(text)
    source = CopySource(text, prompt.strings, prompt.eos)
    assert not source.fits(on, blank)
    assert source.fits(on, a)
    assert source.allowed(on) == sorted([a, prompt.eos])


STRINGS = PromptTokens(PRESETS["paper-en"], make_lm("llama").tokenizer).strings
EOS = 0
TOKENS = sorted({t for ids in STRINGS.plain([*" abno½", "Macron on"]) for t in ids})


def fits_plainly(text: Sequence[int], generated: Sequence[int], token: int) -> bool:
    """What `CopySource.fits` promises, word by word."""
    string = "".join(STRINGS.pieces(text))
    starts = {0, *accumulate(len(STRINGS.piece(token)) for token in text)}
    starts |= {start + 1 for start in starts if string[start : start + 1] == " "}
    before = "".join(STRINGS.pieces(generated)).removeprefix(" ")
    if token == EOS:
        return bool(before)
    longer = before + STRINGS.piece(token)
    return any(string.startswith(longer, start) for start in starts)


@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=25), st.data())
@settings(max_examples=100, deadline=None)
def test_source_allows_what_starts_at_a_token_or_after_a_blank(
    text: list[int], data: st.DataObject
) -> None:
    source = CopySource(text, STRINGS, EOS)
    generated: list[int] = []
    for _ in range(5):
        fitting = [t for t in [*TOKENS, EOS] if fits_plainly(text, generated, t)]
        assert [t for t in [*TOKENS, EOS] if source.fits(generated, t)] == fitting
        allowed = source.allowed(generated)
        assert [t for t in [*TOKENS, EOS] if t in allowed] == fitting
        assert all(fits_plainly(text, generated, token) for token in allowed)
        going_on = [token for token in fitting if token != EOS]
        if not going_on:
            return
        generated.append(data.draw(st.sampled_from(going_on)))


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that, as Qwen's, has tokens of a mark and the line break after it."""
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["works at Yahoo!\nentity type:\n"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


@pytest.mark.parametrize("preset", ["paper-en", "released-en"])
def test_source_holds_the_end_of_a_text_that_merges_with_the_template(
    preset: str,
) -> None:
    prompt = PromptTokens(PRESETS[preset], merging_tokenizer())
    text = "works at Yahoo!"
    (count_prompts,) = prompt.count_prompts([text], ["person"])
    job = TextJob(
        text,
        count_prompts,
        prompt=prompt,
        labels={"PER": "person"},
        context=1000,
        limits=Limits(32, 64),
        cuts=Cuts(),
        selection=SelectionSettings(from_text=True),
    )
    *before, last = prompt.strings.plain(["Yahoo!"])[0]
    assert job.source.fits(before, last)
    assert last in job.source.allowed(before)
