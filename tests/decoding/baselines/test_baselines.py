from __future__ import annotations

import itertools
import logging
import math
import pickle
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from conftest import make_lm
from transformers import AutoModelForCausalLM, GenerationConfig
from trust_helpers import change, write_adapter, write_model

from spacy_padellm.decoding.base import DecodeJob, Decoder, DecodeResult, decode
from spacy_padellm.decoding.baselines.augmented import AugmentedDecoder
from spacy_padellm.decoding.baselines.decoder import AnswerDecoder
from spacy_padellm.decoding.baselines.onestep import OneStepDecoder
from spacy_padellm.decoding.baselines.structured import StructuredDecoder
from spacy_padellm.decoding.batch.batching import (
    LOOK_AHEAD,
    DecodeBatch,
    PromptedText,
    TextResult,
    stream_batches,
)
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.batch.generation import cut_batches, generate
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.limits import Cuts
from spacy_padellm.decoding.replicas import Replica
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.loading import load_model
from spacy_padellm.lm.small_model import SmallShape, make_lm as make_scratch_lm
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.template import PRESETS, make_prompt
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.training.loss import tree_loss
from spacy_padellm.training.targets import make_training_trees

LABELS = {"PER": "person", "LOC": "location", "ORG": "organization"}
BASELINES = [OneStepDecoder, StructuredDecoder, AugmentedDecoder]
GOLD: dict[str, dict[str, list[str]]] = {
    "Angela Merkel met Macron in New York.": {
        "PER": ["Angela Merkel", "Macron"],
        "LOC": ["New York"],
    },
    "nothing": {},
    r"Paris, Texas (US) [sic] \ , the end": {
        "LOC": ["Paris, Texas (US)"],
        "ORG": ["[sic]"],
    },
    "北京 ½ NULL": {"LOC": ["北京"], "ORG": ["NULL"]},
}
SHAPE = SmallShape(
    vocab_size=300,
    hidden_size=16,
    intermediate_size=16,
    layers=1,
    heads=2,
    key_value_heads=2,
    context=512,
)


def scratch(preset: str) -> LanguageModel:
    texts = [*GOLD, "The Bank of Paris closed .", "Bob met Anna in Rome ."]
    specials = PRESETS[preset].special_tokens
    return make_scratch_lm(texts, SHAPE, special_tokens=specials)


def pretrained(preset: str) -> LanguageModel:
    lm = make_lm("llama")
    lm.add_special_tokens(PRESETS[preset].special_tokens)
    return lm


def strings(mentions: Sequence[Mention]) -> dict[str, list[str]]:
    """Label -> mentions; checks that they are numbered from 1."""
    found: dict[str, list[str]] = {}
    for mention in mentions:
        found.setdefault(mention.label, []).append(mention.text)
        assert mention.index == len(found[mention.label])
    return found


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Random models hit the limits all the time."""
    with caplog.at_level(logging.WARNING, logger="spacy_padellm"):
        yield


# Forced answers and scores


@pytest.mark.parametrize("make", [pretrained, scratch])
@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_forced_gives_the_gold_mentions(
    decoder: Callable[[], Decoder], preset: str, make: Callable[[str], LanguageModel]
) -> None:
    lm = make(preset)
    prompt = PromptTokens(PRESETS[preset], lm.tokenizer)
    found = decode(
        decoder(), lm, prompt, list(GOLD), LABELS, forced=ForcedOutputs(prompt, GOLD)
    )
    assert [strings(mentions) for mentions in found] == list(GOLD.values())


@pytest.mark.parametrize("preset", ["paper-en", "released-en", "compact"])
@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_scores_are_the_probabilities_of_the_mentions_tokens(
    decoder: Callable[[], Decoder], preset: str
) -> None:
    lm = pretrained(preset)
    # the weights of these models make next tokens all but sure
    lm.model.lm_head.weight.data *= 0.05
    prompt = PromptTokens(PRESETS[preset], lm.tokenizer)
    text = "Angela Merkel met nobody."
    gold = {"PER": ["Angela Merkel"]}
    (found,) = decode(
        decoder(),
        lm,
        prompt,
        [text],
        LABELS,
        forced=ForcedOutputs(prompt, {text: gold}),
    )
    (tree,) = make_training_trees(
        decoder().output_format,
        prompt,
        [GoldText(text, gold)],
        LABELS,
        mention_prefix_loss=True,
    )
    # the first branch holds the mention: the tokens of the prompt, then of the answer
    *prompt_chains, answer = [
        ids for _, ids in tree.chains[: 3 if len(tree.chains) > 2 else 2]
    ]
    ids = [token for chain in prompt_chains for token in chain] + answer
    mention = lm.tokenizer("Angela Merkel", add_special_tokens=False)["input_ids"]
    start = next(i for i in range(len(ids)) if ids[-len(answer) + i :][:2] == mention)
    start += len(ids) - len(answer)
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids])).logits[0].float()
    chances = logits.softmax(-1)
    expected = [float(chances[start + i - 1, mention[i]]) for i in range(2)]
    assert found[0].score == pytest.approx(math.prod(expected), rel=1e-4)
    assert 1e-9 < found[0].score < 0.9


def test_baselines_score_counts_tokens_that_share_a_character() -> None:
    """A character of several tokens, of which each is one byte."""
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    forced = ForcedOutputs(prompt, {"x 龘 y": {"ORG": ["龘", "y"]}})
    (found,) = decode(
        OneStepDecoder(), lm, prompt, ["x 龘 y"], {"ORG": "o"}, forced=forced
    )
    (count_prompts,) = prompt.count_prompts(["x 龘 y"], ["o"])
    ids = count_prompts.root + count_prompts.labels[0]
    answer = lm.tokenizer("龘", add_special_tokens=False)["input_ids"]
    assert len(answer) == 3
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids + answer])).logits[0].float()
    scores = logits.log_softmax(-1)[len(ids) - 1 : -1].gather(
        1, torch.tensor(answer)[:, None]
    )
    assert found[0].score == pytest.approx(math.exp(float(scores.sum())), rel=1e-4)


@pytest.mark.parametrize("preset", ["paper-en", "released-en"])
@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_answer_has_the_room_of_one_copy_of_the_text(
    decoder: type[AnswerDecoder], preset: str
) -> None:
    lm = pretrained(preset)
    limits = []
    for copies in (1, 2):
        prompt = make_prompt(preset, text="text:\n{text}\n" * copies)
        (asked,) = decoder.form.ask(
            PromptTokens(prompt, lm.tokenizer), ["Ann met Bob ."], LABELS
        )
        limits.append(asked.text[1] - asked.text[0])
    assert limits[0] == limits[1]


# Training targets


@pytest.mark.parametrize("text", ["text:\n{text}\n", "{text}\n\n{text}\n"])
@pytest.mark.parametrize("preset", ["paper-en", "released-en"])
@pytest.mark.parametrize(
    ("decoder", "answer"),
    [
        (StructuredDecoder(), "((person): (Ann, Bob), (location): (NULL))"),
        (AugmentedDecoder(), "[Ann person] met [Bob person] ."),
    ],
)
def test_baselines_targets_are_the_prompt_with_its_answer(
    decoder: Decoder, answer: str, preset: str, text: str
) -> None:
    lm = pretrained(preset)
    prompt = PromptTokens(make_prompt(preset, text=text), lm.tokenizer)
    gold = GoldText("Ann met Bob .", {"PER": ["Ann", "Bob"]})
    labels = {"PER": "person", "LOC": "location"}
    (tree,) = make_training_trees(
        decoder.output_format, prompt, [gold], labels, mention_prefix_loss=True
    )
    (_, prompt_ids), (parent, learnt) = tree.chains
    assert prompt.strings.decode(prompt_ids) == text.format(text="Ann met Bob .")
    assert prompt.strings.decode(learnt) == answer
    assert parent == len(prompt_ids) - 1
    assert tree.targets == [*learnt, prompt.eos]
    assert tree.positions == list(range(parent, tree.size))
    assert tree.weights == [1] * len(tree.targets)


def test_baselines_onestep_targets_are_a_branch_for_each_label() -> None:
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    gold = GoldText("Ann met Bob .", {"LOC": [], "PER": ["Ann", "Bob"]})
    labels = {"PER": "person", "LOC": "location"}
    (tree,) = make_training_trees(
        OneStepDecoder().output_format, prompt, [gold], labels, mention_prefix_loss=True
    )
    (_, root), (_, person), (_, answer), (_, location) = tree.chains
    assert [prompt.strings.decode(root + ids) for ids in (person, location)] == [
        f"text:\nAnn met Bob .\nentity type:\n{name}\n\n<num>"
        for name in labels.values()
    ]
    assert prompt.strings.decode(answer) == "Ann, Bob"
    assert tree.targets == [*answer, prompt.eos, prompt.eos]
    assert tree.positions[-1] == tree.size - 1


# Batches


def test_generation_of_a_sequence_does_not_depend_on_its_batch() -> None:
    for kind in ("llama", "gpt2", "gemma2"):
        lm = make_lm(kind)
        replica = Replica(lm, PromptTokens(PRESETS["paper-en"], lm.tokenizer))
        rng = torch.Generator().manual_seed(0)
        sequences = [
            torch.randint(1, 380, (size,), generator=rng).tolist()
            for size in (1, 3, 9, 9, 20)
        ]
        limits = [4, 12, 1, 7, 5]
        together = generate([replica], sequences, limits)
        for sequence, limit, row in zip(sequences, limits, together, strict=True):
            (alone,) = generate([replica], [sequence], [limit])
            assert alone.ids == row.ids
            assert alone.cut == row.cut == (len(row.ids) == limit)
            assert alone.log_probabilities == pytest.approx(
                row.log_probabilities, abs=1e-5
            )


def test_generation_leaves_out_the_checkpoints_own_settings() -> None:
    lm = make_lm("llama")
    replica = Replica(lm, PromptTokens(PRESETS["paper-en"], lm.tokenizer))
    plain = generate([replica], [[5, 6, 7]], [12])
    config = GenerationConfig(do_sample=True, temperature=9.0, repetition_penalty=5.0)
    lm.model.generation_config = config
    assert generate([replica], [[5, 6, 7]], [12]) == plain
    assert lm.model.generation_config is config


def test_generation_with_an_adapter_leaves_out_the_settings_of_its_base(
    tmp_path: Path,
) -> None:
    lm = make_lm("llama")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    plain = generate([Replica(lm, prompt)], [[5, 6, 7]], [12])
    config = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 5.0}
    base = write_model(tmp_path / "base")
    change(base / "generation_config.json", **config, transformers_version="4.50.0")
    # a new adapter changes nothing
    adapted = load_model(str(write_adapter(tmp_path / "adapter", base)))
    assert generate([Replica(adapted, prompt)], [[5, 6, 7]], [12]) == plain


def test_generation_without_room_in_the_context_is_an_error() -> None:
    lm = make_lm("llama")
    lm.model.config.max_position_embeddings = 8
    replica = Replica(lm, PromptTokens(PRESETS["paper-en"], lm.tokenizer))
    (full,) = generate([replica], [[5] * 7], [9])
    assert len(full.ids) <= 1
    with pytest.raises(ValueError, match="takes 8 tokens"):
        generate([replica], [[5], [5] * 8], [9, 9])


@pytest.mark.parametrize("max_batch_tokens", [None, 1000])
def test_generation_rows_that_ended_stay_within_the_context(
    max_batch_tokens: int | None,
) -> None:
    # a position over the context is an index error in gpt2
    lm = make_lm("gpt2")
    config = lm.model.config
    config.n_positions = 24
    lm = LanguageModel(AutoModelForCausalLM.from_config(config).eval(), lm.tokenizer)
    replica = Replica(lm, PromptTokens(PRESETS["paper-en"], lm.tokenizer))
    sequences = [[5 + n] * n for n in (23, 2, 9, 22, 3, 12, 23)]
    limits = [14] * len(sequences)
    alone = [generate([replica], [ids], [14])[0] for ids in sequences]
    assert {len(row.ids) for row in alone} >= {1, 2, 12, 14}
    found = generate([replica], sequences, limits, max_batch_tokens=max_batch_tokens)
    for row, expected in zip(found, alone, strict=True):
        assert (row.ids, row.cut) == (expected.ids, expected.cut)
        probabilities = pytest.approx(expected.log_probabilities, abs=1e-5)
        assert row.log_probabilities == probabilities


def test_batching_cuts_by_tokens_with_padding() -> None:
    shapes = [(2, 5), (1, 3), (1, 4), (1, 40), (2, 5)]
    assert list(cut_batches(shapes, 20)) == [[1, 2, 0], [4], [3]]
    assert list(cut_batches(shapes, None)) == [[1, 2, 0, 4, 3]]
    assert list(cut_batches([], 20)) == []


@pytest.mark.parametrize("size", [200, 100_000])
@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_results_do_not_depend_on_the_batch(
    decoder: Callable[..., Decoder], size: int
) -> None:
    lm = pretrained("paper-en")
    lm.model.lm_head.weight.data *= 0.05
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    forced = ForcedOutputs(prompt, GOLD)
    made = decoder(max_batch_tokens=size)
    found = decode(made, lm, prompt, list(GOLD), LABELS, forced=forced)
    for text, mentions in zip(GOLD, found, strict=True):
        (alone,) = decode(decoder(), lm, prompt, [text], LABELS, forced=forced)
        assert strings(mentions) == strings(alone) == GOLD[text]
        scores = [mention.score for mention in alone]
        assert [m.score for m in mentions] == pytest.approx(scores, rel=1e-4)


@pytest.mark.parametrize(
    "decoder", [*BASELINES, lambda: BatchDecoder(max_batch_tokens=500)]
)
def test_baselines_look_ahead_is_bounded(decoder: Callable[[], Decoder]) -> None:
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    taken = itertools.count()
    texts = (text for text in itertools.repeat("nothing") if next(taken) >= 0)
    forced = ForcedOutputs(prompt, GOLD)
    stream = decoder().stream(DecodeJob(prompt, LABELS, lm, forced), texts)
    assert next(stream) == []
    assert next(taken) <= LOOK_AHEAD


# Limits and errors


@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_cut_answers_are_reported(
    decoder: Callable[[], Decoder], caplog: pytest.LogCaptureFixture
) -> None:
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    # a model that never ends an answer
    with torch.no_grad():
        lm.model.lm_head.weight[prompt.eos] = 0
    decode(decoder(), lm, prompt, ["some words"], LABELS)
    answers = len(LABELS) if decoder.form.by_label else 1
    assert f"{answers} answer(s) reached the number of tokens" in caplog.text


@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_answers_cut_at_the_end_of_the_context_are_reported_as_such(
    decoder: type[AnswerDecoder], caplog: pytest.LogCaptureFixture
) -> None:
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    with torch.no_grad():
        lm.model.lm_head.weight[prompt.eos] = 0
    (asked,) = decoder.form.ask(prompt, ["some words"], LABELS)
    longest = max(map(len, asked.sequences))
    lm.model.config.max_position_embeddings = longest + 15
    decode(decoder(), lm, prompt, ["some words"], LABELS)
    (message,) = [m for m in caplog.messages if "were cut" in m]
    assert message.startswith(f"{len(asked.sequences)} mention(s), or answer(s)")
    assert "where the model's context ended" in message


@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_max_mentions_is_reported(
    decoder: Callable[..., Decoder], caplog: pytest.LogCaptureFixture
) -> None:
    lm = pretrained("paper-en")
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    gold = {"a b c": {"PER": ["a", "b", "c"]}}
    (found,) = decode(
        decoder(max_mentions=2),
        lm,
        prompt,
        list(gold),
        LABELS,
        forced=ForcedOutputs(prompt, gold),
    )
    assert strings(found) == {"PER": ["a", "b"]}
    assert "1 count(s) were over max_mentions = 2" in caplog.text


@pytest.mark.parametrize("decoder", BASELINES)
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_baselines_prefix_lm_is_trained_as_it_decodes(
    preset: str, decoder: type[AnswerDecoder]
) -> None:
    lm, form = pretrained(preset), decoder.form
    prompt = PromptTokens(make_prompt(preset, prefix_lm=True), lm.tokenizer)
    text = "Angela Merkel met Macron in Berlin"
    gold = GoldText(text, {"PER": ["Macron"], "LOC": ["Berlin"], "ORG": ["Angela"]})
    (asked,) = form.ask(prompt, [text], LABELS)
    assert asked.bidirectional_span == asked.text
    answers = form.tokens(prompt, gold, LABELS)
    generated = generate(
        [Replica(lm, prompt)],
        asked.sequences,
        list(map(len, answers)),
        bidirectional_spans=[asked.bidirectional_span] * len(answers),
        forced=answers,
    )
    scores = [sum(answer.log_probabilities) for answer in generated]
    (tree,) = make_training_trees(
        form.name, prompt, [gold], LABELS, mention_prefix_loss=True
    )
    # `generate` does not give the probability of the end
    tree.weights = [float(target != prompt.eos) for target in tree.targets]
    with torch.no_grad():
        assert float(tree_loss(lm, [tree])) == pytest.approx(-sum(scores), rel=1e-5)


@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_prefix_lm_attends_to_later_tokens(
    decoder: Callable[[], Decoder],
) -> None:
    lm = pretrained("compact")
    texts = list(GOLD)
    found = []
    for prefix_lm in (True, False):
        prompt = PromptTokens(make_prompt("compact", prefix_lm=prefix_lm), lm.tokenizer)
        forced = ForcedOutputs(prompt, GOLD)
        found.append(decode(decoder(), lm, prompt, texts, LABELS, forced=forced))
        alone = [
            decode(decoder(), lm, prompt, [text], LABELS, forced=forced)[0]
            for text in texts
        ]
        scores, expected = (
            [mention.score for mentions in text_mentions for mention in mentions]
            for text_mentions in (found[-1], alone)
        )
        assert scores == pytest.approx(expected, abs=1e-5)
    both_ways, causal = found
    assert both_ways != causal


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("decoder", [*BASELINES, BatchDecoder])
def test_baselines_a_bfloat16_model_decodes_in_its_dtype(
    decoder: Callable[[], Decoder], prefix_lm: bool
) -> None:
    lm = scratch("compact")
    lm.model.to(torch.bfloat16)
    dtypes = set()
    lm.model.model.layers[0].mlp.down_proj.register_forward_hook(
        lambda module, args, output: dtypes.add(output.dtype)
    )
    prompt = PromptTokens(make_prompt("compact", prefix_lm=prefix_lm), lm.tokenizer)
    decode(
        decoder(), lm, prompt, list(GOLD), LABELS, forced=ForcedOutputs(prompt, GOLD)
    )
    assert dtypes == {torch.bfloat16}


@pytest.mark.parametrize("decoder", [*BASELINES, BatchDecoder])
def test_baselines_text_longer_than_the_context_fails_alone(
    decoder: Callable[[], Decoder],
) -> None:
    lm = pretrained("paper-en")
    lm.model.config.max_position_embeddings = 60
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    texts = ["short", "long " * 60, "short too", "long " * 61]
    found = list(decoder().stream(DecodeJob(prompt, LABELS, lm), texts))
    assert [isinstance(mentions, ValueError) for mentions in found] == [
        False,
        True,
        False,
        True,
    ]


def stream(
    lm: LanguageModel, texts: Sequence[str], decode_batch: DecodeBatch
) -> Iterator[DecodeResult]:
    """Decode texts, which fit into one batch."""
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    return stream_batches(
        lm,
        texts,
        ask=lambda texts: prompt.count_prompts(texts, ["person"]),
        decode_batch=decode_batch,
        cuts=Cuts(),
        replicas=[Replica(lm, prompt)],
        max_batch_tokens=10_000,
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("bad"), "bad"),
        (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out of memory"),
        (MemoryError(), "no memory on cpu .* even alone"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPU"),
        (torch.AcceleratorError("CUDA error: out of memory"), "no memory on cpu"),
    ],
)
def test_batching_a_text_that_fails_leaves_its_batch(
    error: Exception, message: str, llama: LanguageModel
) -> None:
    batches = []

    def decode_batch(
        replica: Replica, prompted: Sequence[PromptedText]
    ) -> list[TextResult]:
        batches.append([item.text for item in prompted])
        if "bad" in batches[-1]:
            raise error
        return [TextResult([Mention("A", 1, item.text, 1.0)]) for item in prompted]

    one, bad, two = stream(llama, ["one", "bad", "two"], decode_batch)
    assert isinstance(bad, ValueError)
    assert re.search(message, str(bad))
    assert not isinstance(one, Exception)
    assert not isinstance(two, Exception)
    assert [mention.text for mention in (*one, *two)] == ["one", "two"]
    assert len(batches) == 4


def test_batching_an_error_that_is_no_lack_of_memory_ends_the_stream(
    llama: LanguageModel,
) -> None:
    def decode_batch(
        replica: Replica, prompted: Sequence[PromptedText]
    ) -> list[TextResult]:
        raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        list(stream(llama, ["one"], decode_batch))


@pytest.mark.parametrize("error", [ValueError("x"), torch.OutOfMemoryError("x")])
def test_batching_an_error_keeps_nothing_of_its_batch(
    error: Exception, llama: LanguageModel
) -> None:
    kept = []

    def decode_batch(
        replica: Replica, prompted: Sequence[PromptedText]
    ) -> list[TextResult]:
        cache = torch.zeros(3)
        kept.append(weakref.ref(cache))
        raise error

    (result,) = stream(llama, ["one"], decode_batch)
    assert isinstance(result, ValueError)
    if result is not error:
        error.with_traceback(None)  # it is kept by this test alone
    assert [cache() for cache in kept] == [None]


@pytest.mark.parametrize("decoder", BASELINES)
def test_baselines_nan_is_an_error(decoder: Callable[[], Decoder]) -> None:
    lm = pretrained("paper-en")
    torch.nn.init.constant_(lm.model.model.norm.weight, torch.nan)
    prompt = PromptTokens(PRESETS["paper-en"], lm.tokenizer)
    with pytest.raises(ValueError, match=r'dtype = "float32"'):
        decode(decoder(), lm, prompt, ["a text"], LABELS)


@pytest.mark.parametrize("setting", ["max_mentions", "max_batch_tokens"])
@pytest.mark.parametrize("decoder", [*BASELINES, BatchDecoder])
def test_baselines_setting_under_one_is_an_error(
    decoder: Callable[..., Decoder], setting: str
) -> None:
    with pytest.raises(ValueError, match=f"{setting} is 0"):
        decoder(**{setting: 0})


@pytest.mark.parametrize("decoder", [*BASELINES, BatchDecoder])
def test_baselines_decoders_can_be_pickled(decoder: Callable[[], Decoder]) -> None:
    assert pickle.loads(pickle.dumps(decoder())) == decoder()
