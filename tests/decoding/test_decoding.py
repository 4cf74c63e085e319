from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle
from typing import Any

import numpy as np
import pytest
import torch
from conftest import (
    CONFIGS,
    LABELS,
    LIMITS,
    TWICE,
    ManyCounts,
    make_lm,
    prepare,
    random_texts,
    same,
)
from hypothesis import given, settings, strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    MambaConfig,
    MistralConfig,
)

from spacy_padellm.decoding.base import DecodeJob, Decoder, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import Cuts, Limits
from spacy_padellm.decoding.tree.decoder import LOOK_AHEAD, TreeDecoder
from spacy_padellm.decoding.tree.logits import likeliest
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.tags import TagSet
from spacy_padellm.decoding.tree.text import TreeText
from spacy_padellm.decoding.tree.text_job import SelectionSettings, TextJob
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.packing import PackedBatch, pack
from spacy_padellm.tree.token_tree import TokenTree

pytestmark = pytest.mark.usefixtures("quiet")

NO_TAGS = np.zeros((0, 1))


@pytest.fixture(scope="module")
def prepared() -> tuple[LanguageModel, PromptTokens]:
    return prepare("llama", "paper-en")


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_decoding_tree_equals_separate_sequences(kind: str, preset: str) -> None:
    lm, prompt = prepare(kind, preset)
    assert why_no_tree(lm, 100) == ""
    texts = random_texts(seed=sum(map(ord, kind + preset)), count=16)
    # several texts in a batch, which takes less time
    reference = BatchDecoder(**LIMITS, max_batch_tokens=1024)
    expected = decode(reference, lm, prompt, texts, LABELS)
    assert sum(map(len, expected)) > 20
    for draft_tokens in (0, 3):
        for size in (1, 100_000):
            decoder = TreeDecoder(
                **LIMITS, draft_tokens=draft_tokens, max_batch_tokens=size
            )
            assert same(decode(decoder, lm, prompt, texts, LABELS), expected)


@pytest.mark.parametrize(
    ("kind", "preset"),
    [*((kind, "compact") for kind in sorted(CONFIGS)), ("llama", "released-en")],
)
def test_decoding_prefix_lm_tree_equals_separate_sequences(
    kind: str, preset: str
) -> None:
    lm, prompt = prepare(kind, preset, prefix_lm=True)
    texts = random_texts(seed=5, count=16)
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert sum(map(len, expected)) > 20
    many = BatchDecoder(**LIMITS, max_batch_tokens=300)
    assert same(decode(many, lm, prompt, texts, LABELS), expected)
    for draft_tokens in (0, 3):
        # a model that tags its texts at random drafts wrong mentions
        for inside in ({}, {"person": 7}, {"person": 7, "organization": 8}):
            lm.tags = TaughtTags(inside, sets=[list(inside)])
            decoder = TreeDecoder(**LIMITS, draft_tokens=draft_tokens)
            assert same(decode(decoder, lm, prompt, texts, LABELS), expected)


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize(
    ("kind", "preset"),
    [*(("llama", preset) for preset in sorted(TWICE)), ("gpt2", "paper-en")],
)
def test_decoding_text_read_twice_tree_equals_separate_sequences(
    kind: str, preset: str, prefix_lm: bool
) -> None:
    lm, prompt = prepare(kind, preset, prefix_lm=prefix_lm, text=TWICE[preset])
    texts = random_texts(seed=5, count=16)
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert sum(map(len, expected)) > 20
    # a model that tags its texts at random drafts wrong mentions
    for inside in ({}, {"person": 7}):
        lm.tags = TaughtTags(inside, sets=[list(inside)])
        assert same(decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS), expected)


def test_decoding_prefix_lm_attends_to_later_tokens() -> None:
    lm, prompt = prepare("llama", "compact", prefix_lm=True)
    _, causal = prepare("llama", "compact")
    texts = random_texts(seed=6, count=8)
    found = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert found != decode(TreeDecoder(**LIMITS), lm, causal, texts, LABELS)


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_decoding_tree_equals_separate_sequences_for_any_text(
    prepared: tuple[LanguageModel, PromptTokens], texts: list[str]
) -> None:
    lm, prompt = prepared
    texts = [f"a{text}" for text in texts]
    found = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert same(found, decode(BatchDecoder(**LIMITS), lm, prompt, texts, LABELS))


def test_decoding_batch_equals_one_token_at_a_time(
    prepared: tuple[LanguageModel, PromptTokens],
) -> None:
    lm, prompt = prepared
    for text in random_texts(seed=3, count=8):
        (found,) = decode(BatchDecoder(**LIMITS), lm, prompt, [text], LABELS)
        assert same([found], [one_token_at_a_time(lm, prompt, text)])


Allowed = Callable[[list[int], int], bool]


def generate(
    lm: LanguageModel, eos: int, ids: list[int], limit: int, allowed: Allowed | None
) -> tuple[list[int], float]:
    """The likeliest of the allowed tokens, one after the other."""
    new: list[int] = []
    probability = 1.0
    while len(new) < limit:
        with torch.inference_mode():
            logits = lm.model(torch.tensor([ids + new]), use_cache=False).logits
        chances = logits[0, -1].softmax(-1)
        order = chances.argsort(descending=True, stable=True).tolist()
        token = next(t for t in order if allowed is None or allowed(new, t))
        if token == eos:
            break
        new.append(token)
        probability *= float(chances[token])
    return new, probability


def one_token_at_a_time(
    lm: LanguageModel,
    prompt: PromptTokens,
    text: str,
    *,
    allowed: Allowed | None = None,
    count_of: Callable[[list[int]], tuple[int, list[float]]] | None = None,
) -> list[Mention]:
    mentions = []
    (count_prompts,) = prompt.count_prompts([text], list(LABELS.values()))
    for (label, name), ids in zip(LABELS.items(), count_prompts.labels, strict=True):
        if count_of is None:
            answer, _ = generate(lm, prompt.eos, count_prompts.root + ids, 6, None)
            count, reached = prompt.read_count(answer)[0], [1.0] * 9
        else:
            count, reached = count_of(count_prompts.root + ids)
        if not count:
            continue
        mention_prompts = prompt.mention_prompts(
            text, name, count=count, number=min(count, 4)
        )
        for n, tail in enumerate(mention_prompts.mentions, start=1):
            whole = count_prompts.root + ids + mention_prompts.stem + tail
            new, score = generate(lm, prompt.eos, whole, 7, allowed)
            (string,) = prompt.strings.decode_mentions([new])
            mentions.append(Mention(label, n, string, score * reached[n - 1]))
    return mentions


@pytest.mark.parametrize("vocabulary", [50, 300_000])
def test_decoding_likeliest_is_the_log_softmax(vocabulary: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, vocabulary).bfloat16()
    tokens, scores = likeliest(logits)
    expected, best = logits.float().log_softmax(dim=-1).max(dim=-1)
    torch.testing.assert_close(scores, expected)
    assert tokens.tolist() == best.tolist()


def test_decoding_from_text_takes_the_likeliest_tokens_that_keep_to_the_text(
    prepared: tuple[LanguageModel, PromptTokens],
) -> None:
    lm, prompt = prepared
    strings = prompt.strings
    decoder = TreeDecoder(**LIMITS, from_text=True)
    for text in random_texts(seed=6, count=8):
        (count_prompts,) = prompt.count_prompts([text], list(LABELS.values()))
        source = "".join(
            map(strings.piece, count_prompts.root[slice(*count_prompts.text)])
        )
        (tokens,) = strings.plain([text])
        firsts = {0, *accumulate(len(strings.piece(token)) for token in tokens)}
        firsts |= {place + 1 for place in firsts if source[place:].startswith(" ")}

        def allowed(
            new: list[int],
            token: int,
            source: str = source,
            firsts: set[int] = firsts,
        ) -> bool:
            if token == prompt.eos:
                return bool(new)
            piece = strings.piece(token)
            before = "".join(map(strings.piece, new)).removeprefix(" ")
            return any(source.startswith(before + piece, place) for place in firsts)

        (found,) = decode(decoder, lm, prompt, [text], LABELS)
        assert same([found], [one_token_at_a_time(lm, prompt, text, allowed=allowed)])


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_decoding_from_text_invents_nothing(
    prepared: tuple[LanguageModel, PromptTokens], texts: list[str]
) -> None:
    lm, prompt = prepared
    texts = [f"a{text}" for text in texts]
    found = decode(TreeDecoder(**LIMITS, from_text=True), lm, prompt, texts, LABELS)
    for text, mentions in zip(texts, found, strict=True):
        for mention in mentions:
            # the last token may be a part of a character
            assert mention.text.strip("\ufffd") in text


class OneTokenNumbers(PromptTokens):
    """A tokenizer that has a token for 12."""

    TWELVE = 300

    def read_count(self, generated: Sequence[int]) -> tuple[int, bool]:
        if generated[0] != self.TWELVE:
            return super().read_count(generated)
        return 12, len(generated) > 1


def persons_of_a_text(
    lm: LanguageModel, prompt: PromptTokens, *, least: float, tags: TagSet | None = None
) -> TextJob:
    """The persons in "a text a"; least is the lowest probability of their count."""
    (count_prompts,) = prompt.count_prompts(["a text a"], ["person"])
    return TextJob(
        "a text a",
        count_prompts,
        prompt=prompt,
        labels={"PER": "person"},
        context=lm.context,
        limits=Limits(32, 7),
        cuts=Cuts(),
        selection=SelectionSettings(min_count_probability=least),
        tags=tags,
        tags_first=tags is not None,
    )


@pytest.mark.parametrize("tagged", [0, 1, 2])
@pytest.mark.parametrize(
    ("digits", "chances"),
    [
        (["1", "2"], [0.97, *[0.001] * 8]),  # the first digit is nearly sure
        (["1", "2"], [0.55, 0.44, *[0.001] * 7]),  # two would be chosen, but for the 2
        (["12"], [0.001] * 9),  # a number in one token leaves digits nothing
    ],
)
def test_decoding_count_of_several_digits_keeps_its_mentions(
    digits: list[str], chances: list[float], tagged: int
) -> None:
    lm = make_lm("llama")
    prompt = OneTokenNumbers(PRESETS["paper-en"], lm.tokenizer)
    answer = [OneTokenNumbers.TWELVE]
    if len(digits) == 2:
        answer = [prompt.count_digits[0], prompt.count_digits[1]]
    tags = TagSet([prompt.eos, 9], ["PER"], [], as_trained=True) if tagged else None
    job = persons_of_a_text(lm, prompt, least=0.4, tags=tags)
    text, request = TreeText(job), job.request
    if tagged:  # the first word is a mention, or the first and the last
        tag_scores = np.log(np.full((len(request.tagged), 2), 0.5))
        tag_scores[[0, -1][:tagged]] = np.log([0.1, 0.9])
        assert text.advance(PassResult([], [], [], tag_scores), draft_tokens=4)
    (end,) = lm.tokenizer("\n", add_special_tokens=False)["input_ids"]
    (word,) = lm.tokenizer("a", add_special_tokens=False)["input_ids"]
    passes = [[token] for token in [*answer, end]]
    if tagged == 2 or (tagged and chances[1] > 0.4):  # the tags guess no first digit
        passes[0].append(word)
    elif tagged:  # the first pass gives the token after the tags' count, too
        passes = [[*answer, word][:2], [end]]
    for place, (*first, last_token) in enumerate(passes):
        # the count's token is the last that is read; mentions say "a", then end
        others = len(request.logit_slots) - len(first) - 1
        tokens = [*first, *[word] * others, last_token]
        result = PassResult(tokens, [0.0] * len(tokens), chances, NO_TAGS)
        assert text.advance(result, draft_tokens=0)
        assert not request.probabilities or place == 0
    eos = [prompt.eos] * len(request.logit_slots)
    last = PassResult(eos, [0.0] * len(eos), [], NO_TAGS)
    assert not text.advance(last, draft_tokens=0)
    assert [(m.index, m.score) for m in text.mentions()] == [
        (n, 1.0) for n in range(1, 13)
    ]


def test_decoding_count_of_several_digits_may_be_too_unlikely() -> None:
    lm = make_lm("llama")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    text = TreeText(persons_of_a_text(lm, prompt, least=0.9))
    # 1 is the likeliest digit, but 0 or more than 0 are told by it alone
    tokens = [prompt.count_digits[0]] * len(text.request.logit_slots)
    chances = [0.6, *[0.001] * 8]
    result = PassResult(tokens, [0.0] * len(tokens), chances, NO_TAGS)
    assert not text.advance(result, draft_tokens=0)
    assert not text.mentions()


def test_decoding_count_probabilities_are_at_most_1() -> None:
    lm = make_lm("llama")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    text = TreeText(persons_of_a_text(lm, prompt, least=0.4))
    (end,) = lm.tokenizer("\n", add_special_tokens=False)["input_ids"]
    # float32 probabilities, which add up to 1.00000015
    chances = [0.9, 0.05, 0.05 + 1.5e-7, *[0.0] * 6]
    for token in (prompt.count_digits[0], end, prompt.eos):
        tokens = [token] * len(text.request.logit_slots)
        result = PassResult(tokens, [0.0] * len(tokens), chances, NO_TAGS)
        text.advance(result, draft_tokens=0)
    mentions = text.mentions()
    assert [mention.score for mention in mentions] == [1.0]
    assert max(mentions.at_least["PER"]) == 1.0


@pytest.mark.parametrize("preset", ["compact", "paper-en"])
def test_decoding_count_is_the_highest_that_is_likely_enough(preset: str) -> None:
    lm = make_lm("llama")
    lm.add_special_tokens(PRESETS[preset].special_tokens)
    prompt = PromptTokens(PRESETS[preset], lm.tokenizer)

    def count_of(ids: list[int]) -> tuple[int, list[float]]:
        with torch.inference_mode():
            logits = lm.model(torch.tensor([ids]), use_cache=False).logits
        chances = logits[0, -1].softmax(-1)
        each = [float(chances[prompt.count_answer(n)[0]]) for n in range(1, 10)]
        reached = [sum(each[n:]) for n in range(9)]
        count = sum(chance >= least for chance in reached)
        answer, _ = generate(lm, prompt.eos, ids, 6, None)
        likeliest, _ = prompt.read_count(answer)
        if likeliest > 9 and count:  # the probabilities are those of single digits
            return likeliest, [1.0] * 9
        return count, reached

    counts = set()
    for text, least in zip(
        random_texts(seed=8, count=12), cycle([0.0005, 0.002, 0.008, 0.03])
    ):
        decoder = TreeDecoder(**LIMITS, min_count_probability=least)
        (found,) = decode(decoder, lm, prompt, [text], LABELS)
        expected = one_token_at_a_time(lm, prompt, text, count_of=count_of)
        counts |= {len([m for m in expected if m.label == label]) for label in LABELS}
        assert same([found], [expected])
    assert len(counts) > 1


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
    found = decode(
        decoder, lm, prompt, list(gold), LABELS, forced=ForcedOutputs(prompt, gold)
    )
    for mentions, expected in zip(found, gold.values(), strict=True):
        strings: dict[str, list[str]] = {}
        for mention in mentions:
            strings.setdefault(mention.label, []).append(mention.text)
        assert strings == expected


@pytest.mark.parametrize("decoder", [TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)])
def test_decoding_limits_are_reported(
    prepared: tuple[LanguageModel, PromptTokens],
    decoder: Decoder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = prepared
    found = decode(decoder, lm, prompt, random_texts(seed=4, count=6), LABELS)
    assert max(mention.index for text in found for mention in text) == 4
    assert "over max_mentions = 4" in caplog.text
    assert "reached max_mention_tokens = 7" in caplog.text


@pytest.mark.parametrize("decoder", [TreeDecoder, BatchDecoder])
def test_decoding_end_of_the_context_is_reported_as_such(
    decoder: Callable[..., Decoder], caplog: pytest.LogCaptureFixture
) -> None:
    lm, prompt = prepare("llama", "paper-en")
    texts = random_texts(seed=4, count=6)
    longest = max(len(p.root) for p in prompt.count_prompts(texts, [*LABELS.values()]))
    lm.model.config.max_position_embeddings = longest + 50
    cuts = []
    for limit in (7, 100):
        made = decoder(max_mentions=4, max_mention_tokens=limit)
        found = made.stream(DecodeJob(prompt, LABELS, lm), texts)
        assert sum(not isinstance(result, Exception) for result in found) > 3
        cuts.append([m for m in caplog.messages if "were cut" in m])
        caplog.clear()
    (at_limit,), (at_end,) = cuts
    assert "reached max_mention_tokens = 7" in at_limit
    assert "where the model's context ended" in at_end


def test_decoding_limits_of_all_replicas_are_reported_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = prepare("llama", "compact")
    texts = random_texts(seed=4, count=6) * 24  # several shares of a replica
    for devices in ((), ("cpu", "cpu")):
        decode(TreeDecoder(**LIMITS, devices=devices), lm, prompt, texts, LABELS)
    first, second = (r.message for r in caplog.records if "max_mentions" in r.message)
    assert first == second


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_decoding_between_training_passes_has_no_dropout(
    kind: str, decoder: Decoder
) -> None:
    lm, prompt = prepare(kind, "compact")
    texts = random_texts(seed=4, count=2)
    expected = decode(decoder, lm, prompt, texts, LABELS)
    lm.model.train()
    assert decode(decoder, lm, prompt, texts, LABELS) == expected
    assert not lm.model.training


@pytest.mark.parametrize("kind", ["llama", "gemma", "gpt2"])
def test_decoding_trees_does_not_depend_on_the_default_device(kind: str) -> None:
    lm, prompt = prepare(kind, "paper-en")
    decoder, texts = TreeDecoder(**LIMITS), random_texts(seed=4, count=3)
    torch.set_default_device("meta")
    try:
        found = decode(decoder, lm, prompt, texts, LABELS)
    finally:
        torch.set_default_device(None)
    assert same(found, decode(decoder, lm, prompt, texts, LABELS))


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_text_longer_than_the_context_is_an_error(
    decoder: Decoder,
) -> None:
    lm = make_lm("llama")
    lm.model.config.max_position_embeddings = 60
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    with pytest.raises(ValueError, match="does not fit the model, which takes 60"):
        decode(decoder, lm, prompt, ["short", "long " * 60], LABELS)


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_label_longer_than_the_context_is_an_error(
    decoder: Decoder,
) -> None:
    lm = make_lm("llama")
    lm.model.config.max_position_embeddings = 60
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    labels = {"PER": "person", "LONG": "long " * 60}
    with pytest.raises(ValueError, match=r"Shorten its name or description\."):
        decode(decoder, lm, prompt, ["short"], labels)


@pytest.mark.parametrize("preset", ["paper-en", "paper-zh"])
def test_decoding_stays_within_the_context(preset: str) -> None:
    lm, prompt = prepare("gpt2", preset)
    text = "2 " * 100
    (count_prompts,) = prompt.count_prompts([text], list(LABELS.values()))
    longest = len(count_prompts.root) + max(map(len, count_prompts.labels))
    # positions over the context would be an index error in gpt2
    torch.manual_seed(0)
    config = CONFIGS["gpt2"](len(lm.tokenizer))
    config.n_positions = longest + 12
    model = AutoModelForCausalLM.from_config(config).eval()
    small = LanguageModel(model, lm.tokenizer)
    many = {"max_mentions": 32, "max_mention_tokens": 7}
    tree, batch = (
        next(decoder(**many).stream(DecodeJob(prompt, LABELS, small), [text]))
        for decoder in (TreeDecoder, BatchDecoder)
    )
    if isinstance(batch, Exception):
        assert "does not fit the model" in str(batch)
        assert "does not fit the model" in str(tree)
    else:
        assert same([tree], [batch])


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_nan_is_an_error(decoder: Decoder) -> None:
    lm = make_lm("llama")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    torch.nn.init.constant_(lm.model.model.norm.weight, torch.nan)
    with pytest.raises(ValueError, match=r'dtype = "float32"'):
        decode(decoder, lm, prompt, ["a text"], LABELS)


def test_decoding_nan_of_one_text_spares_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # so that short texts follow long ones, whose rows they take
    monkeypatch.setattr("spacy_padellm.decoding.tree.decoder.LOOK_AHEAD", 8)
    lm, prompt = prepare("llama", "paper-en")
    (token,) = lm.tokenizer("Z", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[token] = torch.nan
    texts = [text + " x" * (i % 7) for i, text in enumerate(random_texts(13, 60))]
    texts = [text + " Z" * (i in (5, 31)) for i, text in enumerate(texts)]
    decoder = TreeDecoder(**LIMITS)
    # a model may generate the token too: what fails alone shall fail
    expected = [
        next(decoder.stream(DecodeJob(prompt, LABELS, lm), [text])) for text in texts
    ]
    failing = [isinstance(mentions, Exception) for mentions in expected]
    assert failing[5]
    assert failing[31]
    assert sum(failing) < 10
    for size in (150, 400):
        decoder = TreeDecoder(**LIMITS, max_batch_tokens=size)
        found = list(decoder.stream(DecodeJob(prompt, LABELS, lm), texts))
        assert [isinstance(mentions, Exception) for mentions in found] == failing
        good = [i for i, fails in enumerate(failing) if not fails]
        assert same([found[i] for i in good], [expected[i] for i in good])


UNSUPPORTED = {
    "bloom": lambda v: BloomConfig(vocab_size=v, hidden_size=32, n_layer=2, n_head=4),
    "mamba": lambda v: MambaConfig(vocab_size=v, hidden_size=32, num_hidden_layers=2),
}


def unsupported(kind: str, tokenizer: Any) -> LanguageModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(UNSUPPORTED[kind](len(tokenizer)))
    return LanguageModel(model.eval(), tokenizer)


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
def test_decoding_model_that_reads_no_trees_is_decoded_separately(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = make_lm("llama").tokenizer
    lm = unsupported(kind, tokenizer)
    prompt = ManyCounts(PRESETS["paper-en"], tokenizer)
    texts = random_texts(seed=5, count=4)
    found = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert same(found, decode(BatchDecoder(**LIMITS), lm, prompt, texts, LABELS))
    assert caplog.text.count(f"the model ({kind}) computes other outputs") == 1


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
def test_decoding_prefix_lm_that_cannot_be_one_is_an_error(
    kind: str, decoder: Decoder
) -> None:
    tokenizer = make_lm("llama").tokenizer
    lm = unsupported(kind, tokenizer)
    prompt = ManyCounts(make_prompt("paper-en", prefix_lm=True), tokenizer)
    with pytest.raises(ValueError, match="Set prefix_lm = false"):
        decode(decoder, lm, prompt, ["Berlin"], LABELS)


def sliding_window() -> tuple[LanguageModel, PromptTokens]:
    """A model that decodes texts of more than 48 tokens as separate sequences."""
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
    return lm, ManyCounts(PRESETS["paper-en"], tokenizer)


def test_decoding_sliding_window_shorter_than_the_text_is_decoded_separately(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = sliding_window()
    texts = ["short", "Berlin " * 50]
    found = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert same(found, decode(BatchDecoder(**LIMITS), lm, prompt, texts, LABELS))
    assert "longer than the model's sliding_window of 48" in caplog.text


def test_decoding_separate_texts_report_the_limits_of_their_stream_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm, prompt = sliding_window()
    texts = ["short", "Berlin " * 50, "Paris " * 50]
    counts = []
    for decoder in (BatchDecoder(**LIMITS), TreeDecoder(**LIMITS)):
        caplog.clear()
        decode(decoder, lm, prompt, texts, LABELS)
        counts.append([m for m in caplog.messages if "were over max_mentions" in m])
    assert len(counts[0]) == 1
    assert counts[1] == counts[0]


def test_decoding_does_not_depend_on_the_batch(
    prepared: tuple[LanguageModel, PromptTokens],
) -> None:
    lm, prompt = prepared
    texts = random_texts(seed=11, count=64)
    alone = [
        decode(TreeDecoder(**LIMITS), lm, prompt, [text], LABELS) for text in texts
    ]
    expected = [mentions for (mentions,) in alone]
    for max_batch_tokens in (64, 300, 4096):
        decoder = TreeDecoder(**LIMITS, max_batch_tokens=max_batch_tokens)
        assert same(decode(decoder, lm, prompt, texts, LABELS), expected)
        backwards = decode(decoder, lm, prompt, texts[::-1], LABELS)
        assert same(backwards[::-1], expected)


def test_decoding_replicas_give_the_same_in_order(
    prepared: tuple[LanguageModel, PromptTokens],
) -> None:
    lm, _ = prepared
    prompt = ManyCounts(PRESETS["paper-en"], lm.tokenizer)
    texts = random_texts(seed=12, count=150)
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    decoder = TreeDecoder(**LIMITS, devices=("cpu", "cpu"))
    assert same(decode(decoder, lm, prompt, texts, LABELS), expected)


def test_decoding_text_that_fails_spares_the_others() -> None:
    lm = make_lm("llama")
    lm.model.config.max_position_embeddings = 60
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    texts = ["short", "long " * 60, "brief"]
    found = list(TreeDecoder(**LIMITS).stream(DecodeJob(prompt, LABELS, lm), texts))
    assert [isinstance(mentions, ValueError) for mentions in found] == [0, 1, 0]


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_decoding_stream_reads_no_further_than_it_looks_ahead(kind: str) -> None:
    lm, prompt = prepare("llama", "paper-en")
    if kind == "bloom":  # which reads no trees
        lm = unsupported(kind, lm.tokenizer)
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "Berlin"

    stream = TreeDecoder(**LIMITS).stream(DecodeJob(prompt, LABELS, lm), texts())
    next(stream)
    assert taken <= 2 * LOOK_AHEAD


def test_decoding_memory_that_runs_out_says_nothing_of_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, _ = prepare("llama", "compact")
    read = LanguageModel.packed_logits

    def failing(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(LanguageModel, "packed_logits", failing)
    with pytest.raises(ValueError, match="not enough memory to try"):
        why_no_tree(lm, 10)
    monkeypatch.setattr(LanguageModel, "packed_logits", read)
    assert not why_no_tree(lm, 10)


def test_decoding_long_text_takes_few_others_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm, prompt = prepare("llama", "compact")
    masks = []

    def record(trees: Sequence[TokenTree], old: int) -> PackedBatch:
        packed = pack(trees, old)
        masks.extend(group.visible.shape for group in packed.groups)
        return packed

    monkeypatch.setattr("spacy_padellm.decoding.tree.run.pack", record)
    size = 600
    texts = ["Berlin " * 100, *["Berlin"] * 60]
    decode(TreeDecoder(**LIMITS, max_batch_tokens=size), lm, prompt, texts, LABELS)
    assert max(width for _, width, _ in masks) > 100
    assert max(rows * width for rows, width, _ in masks) <= 2 * size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_decoding_outlying_weights_say_nothing_of_the_model(
    dtype: torch.dtype,
) -> None:
    lm, _ = prepare("llama", "compact")
    with torch.no_grad():
        # as pretrained models have them: a few channels far beyond the others
        lm.model.model.embed_tokens.weight[:, 3] *= 300
        lm.model.model.layers[0].mlp.down_proj.weight[5] *= 300
    lm.model.to(dtype)
    assert why_no_tree(lm, 10) == ""
