"""How a mention may go on, by the text that it is copied from."""

from __future__ import annotations

from conftest import make_lm, prepare

from spacy_padellm.decoding.tree.copy_source import CopySource
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
