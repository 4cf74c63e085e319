"""Decoding with a model whose layers lie on several GPUs, which are pretended."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import (
    CONFIGS,
    LABELS,
    LIMITS,
    SIZES,
    prepare,
    random_texts,
    same,
)
from pretended_gpu import PretendedGPUs
from transformers import GPT2Config

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree import pass_size
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.cuda_graphs import borrow_graph_runner
from spacy_padellm.lm.devices.split import move_inputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.prompt.tokens import PromptTokens

pytestmark = pytest.mark.usefixtures("quiet")
# fused layers, with and without norms of heads; tied weights; transformers' own layers
KINDS = ["llama", "qwen3", "gemma", "gemma2", "gpt2"]
TIED = {"gemma", "gemma2", "gpt2"}
# the devices of the embedding, of the two layers, and of the norm and the head
PLACES = {
    "two": [0, 0, 1, 1],
    "three": [0, 1, 2, 2],
    "head alone": [0, 0, 0, 1],
    "backwards": [1, 1, 0, 0],
    "there and back": [0, 1, 0, 1],
}
TEXTS = random_texts(seed=7, count=6)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes the devices of each pass over trees of a model that is split."""
    passes: list[int] = []
    run = LanguageModel.packed_logits

    def noted(lm: LanguageModel, *args: Any, **options: Any) -> Any:
        if lm.shares:
            passes.append(len(lm.shares))
        return run(lm, *args, **options)

    monkeypatch.setattr(LanguageModel, "packed_logits", noted)
    return passes


def spread(lm: LanguageModel, places: Sequence[int]) -> LanguageModel:
    """Put the parts of a model on GPUs: tied weights go where the embedding goes."""
    model = lm.model
    inner = model.model if hasattr(model, "model") else model.transformer
    layers = inner.layers if hasattr(inner, "layers") else inner.h
    embedding, *between, last = places
    share = -(-len(layers) // len(between))
    model.lm_head.to(f"cuda:{last}")
    for name, module in inner.named_children():
        if module is not layers:
            place = last if name in {"norm", "ln_f"} else embedding
            module.to(f"cuda:{place}")
    for number, layer in enumerate(layers):
        layer.to(f"cuda:{between[number // share]}")
    move_inputs(model)
    return LanguageModel(model, lm.tokenizer, tags=lm.tags)


OPTIONS: dict[str, dict[str, Any]] = {
    "from text": {"from_text": True, "min_count_probability": 0.01},
    "small passes": {"max_batch_tokens": 100},
    "cascade": {"cascade_attention": True},
}


@pytest.mark.parametrize(
    ("kind", "options", "places"),
    [(kind, "paper", places) for kind in KINDS for places in PLACES]
    + [(kind, options, "two") for kind in ("llama", "gemma2") for options in OPTIONS],
)
def test_decoding_split_tree_equals_one_device(
    kind: str, options: str, places: str, gpus: PretendedGPUs, passes: list[int]
) -> None:
    lm, prompt = prepare(kind, "compact")
    decoder = TreeDecoder(**LIMITS, **OPTIONS.get(options, {}))
    expected = decode(decoder, lm, prompt, TEXTS, LABELS)
    assert any(expected)
    lm = spread(lm, PLACES[places])
    head = PLACES[places][0 if kind in TIED else -1]
    assert (lm.device.index, lm.output_device.index) == (PLACES[places][0], head)
    passes.clear()
    gpus.forget()
    assert same(decode(decoder, lm, prompt, TEXTS, LABELS), expected)
    assert set(passes) == {len(set(PLACES[places]))}
    # the outputs, and the picks of tokens that do not fit
    assert len(gpus.waits) <= len(passes) * (2 if decoder.from_text else 1)
    assert not gpus.pageable
    assert same(decode(decoder, lm, prompt, TEXTS[:1], LABELS), expected[:1])


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_split_batch_equals_one_device(
    kind: str, prefix_lm: bool, gpus: PretendedGPUs
) -> None:
    lm, prompt = prepare(kind, "compact", prefix_lm=prefix_lm)
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, TEXTS[:2], LABELS)
    assert any(expected)
    lm = spread(lm, PLACES["two"])
    found = decode(BatchDecoder(**LIMITS), lm, prompt, TEXTS[:2], LABELS)
    assert same(found, expected)


@pytest.mark.parametrize("decoder", [TreeDecoder(), BatchDecoder()])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_split_forced_scores_equal_one_device(
    kind: str, decoder: TreeDecoder | BatchDecoder, gpus: PretendedGPUs
) -> None:
    lm, many = prepare(kind, "compact")
    prompt = PromptTokens(many.prompt, lm.tokenizer)
    gold = {text: {"PER": text.split()[:2]} for text in TEXTS[:3]}
    forced = ForcedOutputs(prompt, gold)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(0.05)  # else next tokens are sure
    expected = decode(decoder, lm, prompt, TEXTS[:3], LABELS, forced=forced)
    assert [[m.text for m in text] for text in expected] == [
        gold[text]["PER"] for text in TEXTS[:3]
    ]
    lm = spread(lm, PLACES["three"])
    found = decode(decoder, lm, prompt, TEXTS[:3], LABELS, forced=forced)
    assert same(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_split_tags_are_read(kind: str, gpus: PretendedGPUs) -> None:
    lm, prompt = prepare(kind, "compact", prefix_lm=True)
    names = list(LABELS.values())
    decoder = TreeDecoder(**LIMITS, tag_weight=0.5, sure_tag_probability=0.6)
    untagged = decode(decoder, lm, prompt, TEXTS, LABELS)
    lm.tags = TaughtTags({name: 5 + n for n, name in enumerate(names)}, sets=[names])
    expected = decode(decoder, lm, prompt, TEXTS, LABELS)
    assert expected != untagged
    lm = spread(lm, PLACES["two"])
    assert same(decode(decoder, lm, prompt, TEXTS, LABELS), expected)


@pytest.mark.parametrize("decoder", [TreeDecoder(**LIMITS), BatchDecoder(**LIMITS)])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_split_masks_are_moved_once(
    kind: str,
    decoder: TreeDecoder | BatchDecoder,
    gpus: PretendedGPUs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moves = []
    for count in (4, 8):
        monkeypatch.setitem(SIZES, "num_hidden_layers", count)
        monkeypatch.setitem(
            CONFIGS,
            "gpt2",
            lambda v, n=count: GPT2Config(vocab_size=v, n_embd=32, n_layer=n, n_head=4),
        )
        lm, prompt = prepare(kind, "compact")
        prompt = PromptTokens(prompt.prompt, lm.tokenizer)
        forced = ForcedOutputs(prompt, {TEXTS[0]: {"PER": TEXTS[0].split()[:2]}})
        lm = spread(lm, PLACES["two"])
        gpus.forget()
        decode(decoder, lm, prompt, TEXTS[:1], LABELS, forced=forced)
        moves.append(len(gpus.moves))
    assert moves[0] == moves[1] > 0


def test_decoding_split_makes_no_replicas(gpus: PretendedGPUs) -> None:
    lm, prompt = prepare("llama", "compact")
    lm = spread(lm, PLACES["two"])
    for kind in (TreeDecoder, BatchDecoder):
        decoder = kind(devices=("cuda:0", "cuda:1"))
        with pytest.raises(ValueError, match=r"devices are .*cuda:1.*device_map"):
            decode(decoder, lm, prompt, TEXTS[:1], LABELS)


def test_decoding_split_captures_no_graphs(gpus: PretendedGPUs) -> None:
    lm, prompt = prepare("llama", "compact")
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS[:1], LABELS)
    lm = spread(lm, PLACES["two"])
    with borrow_graph_runner(lm) as runner:
        assert runner is None
    decoder = TreeDecoder(**LIMITS, cuda_graphs=True)
    assert same(decode(decoder, lm, prompt, TEXTS[:1], LABELS), expected)


def test_decoding_split_pass_fits_the_fullest_device(
    gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, _ = prepare("llama", "compact")
    lm = spread(lm, PLACES["two"])
    slot = pass_size.slot_bytes(lm)
    assert 0.3 < lm.shares[torch.device("cuda:1")] < 0.7
    rooms = {0: 1 << 40, 1: 4 * pass_size.CACHE_SHARE * slot * 2000}
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: (rooms[device.index], 1 << 40)
    )
    share = lm.shares[torch.device("cuda:1")]
    assert pass_size.pass_tokens(lm) == int(2000 / share)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_decoding_split_survives_a_copy(kind: str, gpus: PretendedGPUs) -> None:
    lm, prompt = prepare(kind, "compact")
    lm = spread(lm, PLACES["two"])
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS[:2], LABELS)
    other = copy.deepcopy(lm)
    assert other.shares == lm.shares
    assert same(
        decode(TreeDecoder(**LIMITS), other, prompt, TEXTS[:2], LABELS), expected
    )


def test_decoding_split_hooks_are_pickled(gpus: PretendedGPUs) -> None:
    lm = spread(prepare("gpt2", "compact")[0], PLACES["two"])
    hooks = list(lm.model.transformer.h[1]._forward_pre_hooks.values())
    (hook,) = pickle.loads(pickle.dumps(hooks))
    (moved,), _ = hook(None, (torch.ones(1),), {})
    assert moved.device == torch.device("cuda:1")
