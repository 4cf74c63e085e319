from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest
import torch
from conftest import CONFIGS, make_lm
from hypothesis import given, settings, strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    MambaConfig,
    MistralConfig,
)

from spacy_padellm.decoding.base import Decoder, Forced
from spacy_padellm.decoding.batch import BatchDecoder
from spacy_padellm.decoding.drafting import draft
from spacy_padellm.decoding.support import why_no_tree
from spacy_padellm.decoding.tree import TreeDecoder
from spacy_padellm.lm import LanguageModel
from spacy_padellm.mentions import Mention
from spacy_padellm.prompt import PRESETS, PromptTokens

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

    def _decode_token(self, token: int) -> str:
        if token % 11 and token != self.eos:
            return str(1 + token % 9)
        return super()._decode_token(token)


def prepare(kind: str, preset: str) -> tuple[LanguageModel, PromptTokens]:
    lm = make_lm(kind)
    lm.add_special_tokens(PRESETS[preset].special_tokens)
    return lm, ManyCounts(PRESETS[preset], lm.tokenizer)


@pytest.fixture(scope="module")
def llama() -> tuple[LanguageModel, PromptTokens]:
    return prepare("llama", "paper-en")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Random models hit the limits all the time."""
    with caplog.at_level(logging.WARNING, logger="spacy_padellm"):
        yield


def same(found: list[list[Mention]], wanted: list[list[Mention]]) -> bool:
    for a, b in zip(found, wanted, strict=True):
        assert [(m.label, m.index, m.text) for m in a] == [
            (m.label, m.index, m.text) for m in b
        ]
        assert [m.score for m in a] == pytest.approx([m.score for m in b], abs=1e-5)
    return True


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_decoding_tree_equals_separate_sequences(kind: str, preset: str) -> None:
    lm, prompt = prepare(kind, preset)
    assert why_no_tree(lm, 100) == ""
    texts = random_texts(seed=sum(map(ord, kind + preset)), count=16)
    wanted = BatchDecoder(**LIMITS)(lm, prompt, texts, LABELS)
    assert sum(map(len, wanted)) > 20
    for draft_tokens in (0, 3):
        for size in (1, 100_000):
            decoder = TreeDecoder(
                **LIMITS, draft_tokens=draft_tokens, max_batch_tokens=size
            )
            assert same(decoder(lm, prompt, texts, LABELS), wanted)


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_decoding_tree_equals_separate_sequences_for_any_text(
    llama: tuple[LanguageModel, PromptTokens], texts: list[str]
) -> None:
    lm, prompt = llama
    texts = [f"a{text}" for text in texts]
    found = TreeDecoder(**LIMITS)(lm, prompt, texts, LABELS)
    assert same(found, BatchDecoder(**LIMITS)(lm, prompt, texts, LABELS))


def test_decoding_batch_equals_one_token_at_a_time(
    llama: tuple[LanguageModel, PromptTokens],
) -> None:
    lm, prompt = llama
    for text in random_texts(seed=3, count=8):
        (found,) = BatchDecoder(**LIMITS)(lm, prompt, [text], LABELS)
        assert same([found], [one_token_at_a_time(lm, prompt, text)])


def one_token_at_a_time(
    lm: LanguageModel, prompt: PromptTokens, text: str
) -> list[Mention]:
    def generate(ids: list[int], limit: int) -> tuple[list[int], float]:
        new: list[int] = []
        probability = 1.0
        while len(new) < limit:
            with torch.inference_mode():
                logits = lm.model(torch.tensor([ids + new]), use_cache=False).logits
            chances = logits[0, -1].softmax(-1)
            token = int(chances.argmax())
            if token == prompt.eos:
                break
            new.append(token)
            probability *= float(chances[token])
        return new, probability

    mentions = []
    (branches,) = prompt.count_branches([text], list(LABELS.values()))
    for (label, name), ids in zip(LABELS.items(), branches.labels, strict=True):
        count, _ = prompt.read_count(generate(branches.root + ids, 6)[0])
        if not count:
            continue
        asked = prompt.mention_branches(text, name, min(count, 4), count)
        for n, tail in enumerate(asked.mentions, start=1):
            new, score = generate(branches.root + ids + asked.stem + tail, 7)
            mentions.append(Mention(label, n, prompt.decode(new), score))
    return mentions


@pytest.mark.parametrize(
    "decoder",
    [TreeDecoder(draft_tokens=0), TreeDecoder(draft_tokens=4), BatchDecoder()],
)
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_decoding_forced_gives_the_gold_mentions(preset: str, decoder: Decoder) -> None:
    lm = make_lm("qwen3")
    lm.add_special_tokens(PRESETS[preset].special_tokens)
    prompt = PromptTokens(PRESETS[preset], lm.tokenizer)
    many = [f"w{i} x" for i in range(12)]
    gold = {
        "Angela Merkel met Macron in New York": {
            "PER": ["Angela Merkel", "Macron"],
            "LOC": ["New York"],
        },
        "nothing": {},
        " ".join(many): {"ORG": many},
    }
    found = decoder(lm, prompt, list(gold), LABELS, forced=Forced(prompt, gold))
    for mentions, wanted in zip(found, gold.values(), strict=True):
        strings: dict[str, list[str]] = {}
        for mention in mentions:
            strings.setdefault(mention.label, []).append(mention.text)
        assert strings == wanted


@pytest.mark.parametrize("decoder", [TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)])
def test_decoding_limits_are_reported(
    llama: tuple[LanguageModel, PromptTokens],
    decoder: Decoder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = llama
    found = decoder(lm, prompt, random_texts(seed=4, count=6), LABELS)
    assert max(mention.index for text in found for mention in text) == 4
    assert "over max_mentions = 4" in caplog.text
    assert "reached max_mention_tokens = 7" in caplog.text


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_text_longer_than_the_context_is_an_error(
    decoder: Decoder,
) -> None:
    lm = make_lm("llama")
    lm.model.config.max_position_embeddings = 60
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    with pytest.raises(ValueError, match="does not fit the model, which takes 60"):
        decoder(lm, prompt, ["short", "long " * 60], LABELS)


@pytest.mark.parametrize("decoder", [TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)])
def test_decoding_stays_within_the_context(decoder: Decoder) -> None:
    lm, prompt = prepare("gpt2", "paper-en")
    text = "2 " * 100
    (branches,) = prompt.count_branches([text], list(LABELS.values()))
    longest = len(branches.root) + max(map(len, branches.labels))
    # positions over the context would be an index error in gpt2
    torch.manual_seed(0)
    config = CONFIGS["gpt2"](len(lm.tokenizer))
    config.n_positions = longest + 12
    model = AutoModelForCausalLM.from_config(config).eval()
    small = LanguageModel(model, lm.tokenizer)
    assert len(decoder(small, prompt, [text], LABELS)) == 1


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_nan_is_an_error(decoder: Decoder) -> None:
    lm = make_lm("llama")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    torch.nn.init.constant_(lm.model.model.norm.weight, torch.nan)
    with pytest.raises(ValueError, match=r'dtype = "float32"'):
        decoder(lm, prompt, ["a text"], LABELS)


@pytest.mark.parametrize("setting", ["max_mentions", "max_mention_tokens"])
@pytest.mark.parametrize("decoder", [TreeDecoder, BatchDecoder])
def test_decoding_limit_under_one_is_an_error(decoder: type, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} is 0"):
        decoder(**{setting: 0})


UNSUPPORTED = {
    "bloom": lambda v: BloomConfig(vocab_size=v, hidden_size=32, n_layer=2, n_head=4),
    "mamba": lambda v: MambaConfig(vocab_size=v, hidden_size=32, num_hidden_layers=2),
}


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
def test_decoding_model_that_reads_no_trees_is_decoded_separately(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = make_lm("llama").tokenizer
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(UNSUPPORTED[kind](len(tokenizer)))
    lm = LanguageModel(model.eval(), tokenizer)
    prompt = ManyCounts(PRESETS["paper-en"], tokenizer)
    texts = random_texts(seed=5, count=4)
    found = TreeDecoder(**LIMITS)(lm, prompt, texts, LABELS)
    TreeDecoder(**LIMITS)(lm, prompt, texts, LABELS)
    assert same(found, BatchDecoder(**LIMITS)(lm, prompt, texts, LABELS))
    assert caplog.text.count(f"the model ({kind}) computes other outputs") == 1


def test_decoding_sliding_window_shorter_than_the_text_is_decoded_separately(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokenizer = make_lm("llama").tokenizer
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=48,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    lm = LanguageModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer)
    prompt = ManyCounts(PRESETS["paper-en"], tokenizer)
    texts = ["short", "Berlin " * 50]
    found = TreeDecoder(**LIMITS)(lm, prompt, texts, LABELS)
    assert same(found, BatchDecoder(**LIMITS)(lm, prompt, texts, LABELS))
    assert "longer than the model's sliding window of 48" in caplog.text


def test_decoding_flash_attention_is_decoded_separately() -> None:
    lm = make_lm("llama")
    lm.model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in why_no_tree(lm, 10)


def test_decoding_draft_follows_the_first_place() -> None:
    text = [1, 2, 3, 1, 2, 4, 5]
    assert draft(text, [1, 2], 2) == [3, 1]
    assert draft(text, [2, 4], 4) == [5]
    assert draft(text, [9], 4) == []
    assert draft(text, [1, 2], 0) == []
