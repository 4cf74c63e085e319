"""Decoding on GPUs: real ones, and those of `pretended_gpu`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from conftest import CONFIGS, LABELS, LIMITS, on_cuda, prepare, random_texts, same
from pretended_gpu import PretendedGPUs

from spacy_padellm.decoding.base import DecodeJob, Decoder, decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.replicas import make_replicas
from spacy_padellm.decoding.tree import decoder as tree
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.cuda_graphs import GraphRunner
from spacy_padellm.lm.devices import upload
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.kv_cache import TreeKVCache

pytestmark = pytest.mark.usefixtures("quiet")
# with layers of our own, and with those of transformers
KINDS = ["llama", "gpt2", "gemma2"]
# those that copy the last token would give single ones
FLAT = {"gpt2": 0.05}
TEXTS = random_texts(seed=7, count=12)


@dataclass
class Passes:
    """Counts the passes over trees: others would not be decoded as trees.

    count, moves (int): Passes, and rows of the cache that were moved.
    sizes (set[tuple[int, int]]): Rows and slots of the cache.
    """

    count: int = 0
    moves: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    passes, run, move = Passes(), LanguageModel.packed_logits, TreeKVCache.move

    def counted(
        lm: LanguageModel, packed: Any, logit_positions: Any, cache: Any, **tags: Any
    ):  # type: ignore[no-untyped-def]
        passes.count += lm.device.type == "cuda"
        output = run(lm, packed, logit_positions, cache, **tags)
        passes.sizes.add((cache.rows, cache.slots))
        return output

    def noted(cache: TreeKVCache, *args: Any) -> None:
        passes.moves += len(args[0])
        move(cache, *args)

    monkeypatch.setattr(LanguageModel, "packed_logits", counted)
    monkeypatch.setattr(TreeKVCache, "move", noted)
    return passes


def make(kind: str, *, prefix_lm: bool = False) -> tuple[LanguageModel, PromptTokens]:
    lm, prompt = prepare(kind, "compact", prefix_lm=prefix_lm)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(FLAT.get(kind, 1))
    return lm, prompt


def alone(
    decoder: Decoder, lm: LanguageModel, prompt: PromptTokens
) -> list[list[Mention]]:
    return [decode(decoder, lm, prompt, [text], LABELS)[0] for text in TEXTS[:3]]


OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {},
    "from text": {"from_text": True},
    "low counts": {"min_count_probability": 0.01, "from_text": True},
    "small passes": {"max_batch_tokens": 100},
    "no drafts": {"draft_tokens": 0},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_tree_equals_the_cpu(
    kind: str, options: str, gpus: PretendedGPUs, passes: Passes
) -> None:
    lm, prompt = make(kind)
    decoder = TreeDecoder(**LIMITS, **OPTIONS[options])
    expected = decode(decoder, lm, prompt, TEXTS, LABELS)
    assert sum(map(len, expected)) > 5
    lm.model.to("cuda")
    passes.moves = 0
    gpus.forget()
    assert same(decode(decoder, lm, prompt, TEXTS, LABELS), expected)
    assert passes.count
    # the outputs, and the picks of tokens that do not fit
    assert len(gpus.waits) <= passes.count * (2 if decoder.from_text else 1)
    assert not gpus.pageable
    if options == "small passes":
        assert passes.moves
        assert len(passes.sizes) > 3
    assert same(alone(decoder, lm, prompt), expected[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_tags_are_read(
    kind: str, gpus: PretendedGPUs, passes: Passes
) -> None:
    lm, prompt = make(kind, prefix_lm=True)
    names = list(LABELS.values())
    lm.tags = TaughtTags({name: 5 + n for n, name in enumerate(names)}, sets=[names])
    decoder = TreeDecoder(**LIMITS, tag_weight=0.5, sure_tag_probability=0.6)
    expected = decode(decoder, lm, prompt, TEXTS, LABELS)
    lm.tags = TaughtTags()
    assert decode(decoder, lm, prompt, TEXTS, LABELS) != expected
    lm.tags = TaughtTags({name: 5 + n for n, name in enumerate(names)}, sets=[names])
    lm.model.to("cuda")
    gpus.forget()
    assert same(decode(decoder, lm, prompt, TEXTS, LABELS), expected)
    assert passes.count == len(gpus.waits)
    assert not gpus.pageable


def test_decoding_devices_nan_of_one_text_spares_the_others(
    gpus: PretendedGPUs,
) -> None:
    lm, prompt = make("llama")
    decoder = TreeDecoder(**LIMITS, max_batch_tokens=100)
    good = [text for text in TEXTS if "½" not in text]
    expected = decode(decoder, lm, prompt, good, LABELS)
    mark = lm.tokenizer("½", add_special_tokens=False).input_ids
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[mark[-1]] = torch.nan
    lm.model.to("cuda")
    texts = [
        text for pair in zip(good, ["½"] * len(good), strict=True) for text in pair
    ]
    results = list(decoder.stream(DecodeJob(prompt, LABELS, lm), texts))
    assert all(isinstance(result, ValueError) for result in results[1::2])
    found = [result for result in results[::2] if isinstance(result, list)]
    assert same(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_graphs_equal_passes_without_graphs(
    kind: str, gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, prompt = make(kind)
    expected = alone(TreeDecoder(**LIMITS), lm, prompt)
    lm.model.to("cuda")
    runner = GraphRunner(lm, lambda run: run)

    @contextmanager
    def borrow(lm: LanguageModel) -> Iterator[GraphRunner]:
        yield runner

    monkeypatch.setattr(tree, "borrow_graph_runner", borrow)
    gpus.forget()
    found = alone(TreeDecoder(**LIMITS, cuda_graphs=True), lm, prompt)
    assert same(found, expected)
    assert runner._runs
    assert not gpus.pageable


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_batch_equals_the_cpu(
    kind: str, prefix_lm: bool, gpus: PretendedGPUs
) -> None:
    lm, prompt = make(kind, prefix_lm=prefix_lm)
    decoder = BatchDecoder(**LIMITS)
    expected = decode(decoder, lm, prompt, TEXTS[:2], LABELS)
    lm.model.to("cuda")
    assert same(decode(decoder, lm, prompt, TEXTS[:2], LABELS), expected)


@pytest.mark.parametrize("devices", [("cuda:0", "cuda:1"), ("cuda:1", "cuda:1", "cpu")])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_replicas_find_the_same(
    kind: str, devices: tuple[str, ...], gpus: PretendedGPUs
) -> None:
    lm, prompt = make(kind)
    texts = TEXTS * 12  # several shares of a replica
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS) * 12
    lm.model.to("cuda")
    replica_devices = [
        replica.lm.device for replica in make_replicas(lm, prompt, devices)
    ]
    assert replica_devices == [torch.device(device) for device in devices]
    decoder = TreeDecoder(**LIMITS, devices=devices)
    assert same(decode(decoder, lm, prompt, texts, LABELS), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_devices_a_tensor_left_on_the_cpu_is_refused(
    kind: str, gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, prompt = make(kind)
    lm.model.to("cuda")
    monkeypatch.setattr(upload, "send", lambda tensor, device: tensor)
    with pytest.raises(RuntimeError, match="one device, found cpu and cuda:0"):
        decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)


# On a real GPU


def near(
    found: list[list[Mention]], expected: list[list[Mention]], *, tolerance: float
) -> bool:
    """Whether mentions are the same, with log-probabilities of about the same size."""
    for a, b in zip(found, expected, strict=True):
        assert [(m.label, m.index, m.text) for m in a] == [
            (m.label, m.index, m.text) for m in b
        ]
        scores = [math.log(m.score) for m in b]
        assert [math.log(m.score) for m in a] == pytest.approx(scores, abs=tolerance)
    return True


@on_cuda
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_decoding_on_cuda_tree_equals_the_cpu(
    kind: str, options: str, passes: Passes
) -> None:
    lm, prompt = make(kind)
    decoder = TreeDecoder(**LIMITS, **OPTIONS[options])
    expected = decode(decoder, lm, prompt, TEXTS, LABELS)
    assert sum(map(len, expected)) > 5
    lm.model.to("cuda")
    assert near(decode(decoder, lm, prompt, TEXTS, LABELS), expected, tolerance=0.01)
    assert passes.count
    assert near(alone(decoder, lm, prompt), expected[:3], tolerance=0.01)


@on_cuda
@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_decoding_on_cuda_tree_equals_separate_sequences(
    kind: str, prefix_lm: bool, passes: Passes
) -> None:
    lm, prompt = make(kind, prefix_lm=prefix_lm)
    lm.model.to("cuda")
    expected = decode(BatchDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert not passes.count
    found = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS)
    assert passes.count
    assert near(found, expected, tolerance=0.01)


@on_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_decoding_on_cuda_scores_are_those_of_a_cpu(
    kind: str, prefix_lm: bool, dtype: torch.dtype, passes: Passes
) -> None:
    lm, many = prepare(kind, "compact", prefix_lm=prefix_lm)
    prompt = PromptTokens(many.prompt, lm.tokenizer)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(0.05)  # else next tokens are sure
    # the answers are given: rounding would change those of the model
    gold = {text: {"PER": text.split()[:2]} for text in TEXTS}
    forced = ForcedOutputs(prompt, gold)
    expected = decode(TreeDecoder(), lm, prompt, TEXTS, LABELS, forced=forced) * 6
    texts = TEXTS * 6  # several shares of a replica
    lm.model.to("cuda", dtype)
    tolerance = {torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.3}[dtype]
    for options in ({}, {"max_batch_tokens": 100}, {"devices": ("cpu", "cuda:0")}):
        passes.count = 0
        decoder = TreeDecoder(**options)
        found = decode(decoder, lm, prompt, texts, LABELS, forced=forced)
        assert passes.count
        assert [[m.text for m in text] for text in found] == [
            gold[text]["PER"] for text in texts
        ]
        assert near(found, expected, tolerance=tolerance)


@on_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_on_cuda_two_replicas_on_one_device_find_the_same(
    kind: str, passes: Passes
) -> None:
    lm, prompt = make(kind)
    lm.model.to("cuda")
    texts = TEXTS * 24
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, TEXTS, LABELS) * 24
    devices = ("cuda:0", "cuda:0")
    first, second = (replica.lm for replica in make_replicas(lm, prompt, devices))
    assert first is not second
    decoder = TreeDecoder(**LIMITS, devices=devices)
    assert near(decode(decoder, lm, prompt, texts, LABELS), expected, tolerance=0.01)
