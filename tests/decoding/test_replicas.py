from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
import torch
from conftest import make_lm

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.batch.decoder import BatchDecoder
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.replicas import Replica, make_replicas, map_on_replicas
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.small_model import SmallShape, make_lm as make_scratch_lm
from spacy_padellm.prompt.template import PRESETS
from spacy_padellm.prompt.tokens import PromptTokens

PROMPT = PRESETS["paper-en"]
LABELS = {"PER": "person", "LOC": "location", "ORG": "organization"}
GOLD = {
    "Angela Merkel met Macron in New York": {
        "PER": ["Angela Merkel", "Macron"],
        "LOC": ["New York"],
    },
    "nothing": {},
    "a b c d e": {"ORG": ["a", "b", "c"], "PER": ["d e"]},
}


def bound(lm: LanguageModel) -> PromptTokens:
    return PromptTokens(PROMPT, lm.tokenizer)


def replicate(lm: LanguageModel, *devices: str) -> list[LanguageModel]:
    return [replica.lm for replica in make_replicas(lm, bound(lm), devices)]


def weights(lm: LanguageModel) -> list[torch.Tensor]:
    return list(lm.model.parameters())


# Making


def test_replicas_without_devices_are_the_model_itself(llama: LanguageModel) -> None:
    prompt = bound(llama)
    for devices in ((), ("cpu",)):
        (replica,) = make_replicas(llama, prompt, devices)
        assert replica.lm is llama
        assert replica.prompt is prompt


def test_replicas_are_the_model_once_and_copies(llama: LanguageModel) -> None:
    first, second, third = replicate(llama, "cpu", "cpu", "cpu")
    assert first is llama
    assert len({id(lm) for lm in (first, second, third)}) == 3
    places = {p.data_ptr() for lm in (first, second, third) for p in weights(lm)}
    assert len(places) == 3 * len(weights(llama))
    for p, q in zip(weights(llama), weights(third), strict=True):
        assert torch.equal(p, q)


def test_replicas_share_the_prompt_and_its_tokenizer(llama: LanguageModel) -> None:
    prompt = bound(llama)
    for replica in make_replicas(llama, prompt, ("cpu", "cpu")):
        assert replica.prompt is prompt
        assert replica.lm.tokenizer is llama.tokenizer


def test_replicas_keep_tied_weights_tied() -> None:
    shape = SmallShape(300, 16, 16, 1, 2, 2, 64)
    lm = make_scratch_lm(["some text"], shape, special_tokens=[])
    copy = replicate(lm, "cpu", "cpu")[1].model
    assert copy.get_input_embeddings().weight is copy.get_output_embeddings().weight


def test_replicas_are_made_once(llama: LanguageModel) -> None:
    first = make_replicas(llama, bound(llama), ("cpu", "cpu"))
    again = make_replicas(llama, bound(llama), ("cpu", "cpu", "cpu"))
    assert [r.lm for r in first] == [r.lm for r in again[:2]]


def test_replicas_follow_the_models_training() -> None:
    lm = make_lm("llama")
    old = replicate(lm, "cpu", "cpu")[1]
    optimizer = torch.optim.AdamW(lm.model.parameters())
    lm.model(torch.tensor([[1, 2]])).logits.sum().backward()
    optimizer.step()
    new = replicate(lm, "cpu", "cpu")[1]
    assert new is not old
    for p, q in zip(weights(lm), weights(new), strict=True):
        assert torch.equal(p, q)
        assert q.grad is None


def test_replicas_follow_new_special_tokens() -> None:
    lm = make_lm("llama")
    replicate(lm, "cpu", "cpu")
    lm.add_special_tokens(["<|new|>"])
    prompt = bound(lm)
    for replica in make_replicas(lm, prompt, ("cpu", "cpu")):
        assert "<|new|>" in replica.prompt.tokenizer.get_vocab()
        assert weights(replica.lm)[0].shape == weights(lm)[0].shape


def test_replicas_go_with_the_model() -> None:
    lm = make_lm("llama")
    copy = weakref.ref(replicate(lm, "cpu", "cpu")[1])
    gc.collect()
    assert copy() is not None
    del lm
    gc.collect()
    assert copy() is None


@pytest.mark.parametrize(
    ("device", "message"),
    [("abacus", "Unknown device 'abacus'"), ("cuda:99", "'cuda:99' is not available")],
)
def test_replicas_on_an_absent_device_are_an_error(
    llama: LanguageModel, device: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replicate(llama, "cpu", device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_replicas_on_cuda_work_on_their_own_device() -> None:
    lm = make_lm("llama")
    last = torch.cuda.device_count() - 1
    replicas = make_replicas(lm, bound(lm), ("cpu", "cuda:0", f"cuda:{last}"))
    replica_devices = [replica.lm.device for replica in replicas]
    assert replica_devices == [
        torch.device("cpu"),
        torch.device("cuda:0"),
        torch.device(f"cuda:{last}"),
    ]

    def current(replica: Replica, item: int) -> bool:
        index = replica.lm.device.index
        return index is None or torch.cuda.current_device() == index

    assert list(map_on_replicas(replicas, range(30), current)) == [True] * 30
    decoder = BatchDecoder(devices=("cpu", "cuda:0", f"cuda:{last}"))
    prompt = bound(lm)
    forced = ForcedOutputs(prompt, GOLD)
    found = decode(decoder, lm, prompt, list(GOLD), LABELS, forced=forced)
    plain = decode(BatchDecoder(), lm, prompt, list(GOLD), LABELS, forced=forced)
    assert [[m.text for m in text] for text in found] == [
        [m.text for m in text] for text in plain
    ]


# Spreading


@pytest.fixture
def replicas(llama: LanguageModel) -> list[Replica]:
    return make_replicas(llama, bound(llama), ("cpu", "cpu", "cpu"))


def test_replicas_map_gives_results_in_order(replicas: list[Replica]) -> None:
    def work(replica: Replica, item: int) -> int:
        time.sleep(0.002 * (item % 3 == 0))
        return item * item

    assert list(map_on_replicas(replicas, range(40), work)) == [
        i * i for i in range(40)
    ]
    assert list(map_on_replicas(replicas, [], work)) == []


def test_replicas_map_works_on_all_replicas_at_once(replicas: list[Replica]) -> None:
    # passes only when three threads meet here
    barrier = threading.Barrier(3, timeout=30)

    def work(replica: Replica, item: int) -> int:
        barrier.wait()
        return id(replica)

    assert sorted(map_on_replicas(replicas, range(3), work)) == sorted(
        map(id, replicas)
    )


def test_replicas_map_gives_a_replica_to_one_thread_at_a_time(
    replicas: list[Replica],
) -> None:
    locks = {id(replica): threading.Lock() for replica in replicas}

    def work(replica: Replica, item: int) -> bool:
        free = locks[id(replica)].acquire(blocking=False)
        time.sleep(0.001)
        if free:
            locks[id(replica)].release()
        return free

    assert list(map_on_replicas(replicas, range(60), work)) == [True] * 60


def test_replicas_map_raises_in_place_of_the_result(
    replicas: list[Replica],
) -> None:
    def work(replica: Replica, item: int) -> int:
        if item == 5:
            raise KeyError("five")
        return item

    results = map_on_replicas(replicas, itertools.count(), work)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError, match="five"):
        next(results)


def test_replicas_map_passes_on_errors_of_its_items(replicas: list[Replica]) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(map_on_replicas(replicas, items(), lambda replica, item: item))


def test_replicas_map_looks_ahead_a_few_items(replicas: list[Replica]) -> None:
    taken = itertools.count()
    items = (item for item in itertools.repeat(0) if next(taken) >= 0)
    gate = threading.Event()

    def work(replica: Replica, item: int) -> int:
        gate.wait(0.2)
        return item

    results = map_on_replicas(replicas, items, work)
    next(results)
    assert next(taken) <= 2 * len(replicas)
    gate.set()
    results.close()


def test_replicas_map_ends_its_threads_with_the_caller(replicas: list[Replica]) -> None:
    results = map_on_replicas(replicas, itertools.count(), lambda replica, item: item)
    next(results)
    results.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("padellm")]


def test_replicas_map_over_one_replica_needs_no_thread(replicas: list[Replica]) -> None:
    here = threading.get_ident()
    work = lambda replica, item: threading.get_ident()  # noqa: E731
    assert list(map_on_replicas(replicas[:1], range(3), work)) == [here] * 3


# Decoding


@pytest.mark.parametrize("max_batch_tokens", [None, 200])
@pytest.mark.parametrize("preset", ["paper-en", "released-en", "compact"])
def test_batch_decoder_on_several_devices_finds_the_same(
    preset: str, max_batch_tokens: int | None
) -> None:
    lm = make_lm("qwen3")
    lm.add_special_tokens(PRESETS[preset].special_tokens)
    # the weights of these models make next tokens all but sure
    lm.model.lm_head.weight.data *= 0.05
    prompt = PromptTokens(PRESETS[preset], lm.tokenizer)
    forced = ForcedOutputs(prompt, GOLD)
    texts = list(GOLD) * 4
    plain = decode(BatchDecoder(), lm, prompt, texts, LABELS, forced=forced)
    decoder = BatchDecoder(
        devices=("cpu", "cpu", "cpu"), max_batch_tokens=max_batch_tokens
    )
    found = decode(decoder, lm, prompt, texts, LABELS, forced=forced)
    for text, mentions, expected in zip(texts, found, plain, strict=True):
        assert [(m.label, m.index, m.text) for m in mentions] == [
            (m.label, m.index, m.text) for m in expected
        ]
        assert [m.text for m in mentions if m.label == "PER"] == GOLD[text].get(
            "PER", []
        )
        scores = [m.score for m in expected]
        assert [m.score for m in mentions] == pytest.approx(scores, rel=1e-4)
