"""Attention in parts, against attention under the masks of whole trees."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import CONFIGS, LABELS, LIMITS, on_cuda, prepare, random_texts, same
from pretended_gpu import PretendedGPUs

from spacy_padellm.decoding.base import decode
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.decoding.tree.decoder import TreeDecoder
from spacy_padellm.lm.attention import ragged
from spacy_padellm.lm.attention.cascade import (
    Attended,
    CascadeAttention,
    can_cascade,
    cascade_attention,
    merged,
)
from spacy_padellm.lm.attention.packed import packed_attention
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.attention.ragged import Lengths, attend_ragged
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.prompt.tokens import PromptTokens
from spacy_padellm.tree.kv_cache import TreeKVCache
from spacy_padellm.tree.packing import PackedBatch, pack
from spacy_padellm.tree.token_tree import ROOT, TokenTree

pytestmark = pytest.mark.usefixtures("quiet")
KINDS = sorted(set(CONFIGS) - {"gemma2"})  # Gemma 2 caps its scores
HEADS, SHARED, SIZE = 6, 2, 8
CASCADE = TreeDecoder(**LIMITS, cascade_attention=True)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The layers that attended in parts."""
    layers: list[int] = []
    attend = CascadeAttention.__call__

    def counted(self: Any, layer: int, *args: Any) -> torch.Tensor:
        layers.append(layer)
        return attend(self, layer, *args)

    monkeypatch.setattr(CascadeAttention, "__call__", counted)
    return layers


@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cascade_finds_the_same_mentions(
    kind: str, prefix_lm: bool, passes: list[int]
) -> None:
    lm, prompt = prepare(kind, "compact", prefix_lm=prefix_lm)
    texts = random_texts(seed=5, count=30)
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert not passes
    found = decode(CASCADE, lm, prompt, texts, LABELS)
    assert same(found, expected)
    assert sum(map(len, found)) > 5
    assert passes


def test_cascade_whole_prompts_find_the_same_mentions(passes: list[int]) -> None:
    lm, prompt = prepare("llama", "paper-en")
    texts = random_texts(seed=6, count=20)
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert same(decode(CASCADE, lm, prompt, texts, LABELS), expected)
    assert passes


def test_cascade_is_not_for_models_that_cap_their_scores(passes: list[int]) -> None:
    lm, prompt = prepare("gemma2", "compact")
    assert not can_cascade(lm.model)
    texts = random_texts(seed=5, count=4)
    expected = decode(TreeDecoder(**LIMITS), lm, prompt, texts, LABELS)
    assert same(decode(CASCADE, lm, prompt, texts, LABELS), expected)
    assert not passes


def forcible(kind: str, *, prefix_lm: bool) -> tuple[LanguageModel, PromptTokens]:
    """A model whose counts are read as they are."""
    lm, prompt = prepare(kind, "compact", prefix_lm=prefix_lm)
    return lm, PromptTokens(prompt.prompt, lm.tokenizer)


def two_passes() -> list[PackedBatch]:
    """Trees of a prefix LM and of a causal one; the last joins in the second pass."""
    trees = [
        TokenTree(bidirectional_span=(2, 9)),
        TokenTree(),
        TokenTree(bidirectional_span=(0, 5)),
    ]
    for tree, size in zip(trees, (11, 30, 7), strict=True):
        end = tree.extend(ROOT, [1] * size)
        for length in (3, 1, 2):
            tree.extend(end, [1] * length)
    first = pack(trees[:2], 0)
    for tree in trees[:2]:
        tree.extend(tree.filled - 1, [1, 1])
        tree.extend(tree.filled - 4, [1])
    return [first, pack(trees, 2)]


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 0.03), (torch.float16, 4e-3)],
)
def test_cascade_output_equals_attention_under_a_mask(
    dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    caches = TreeKVCache(), TreeKVCache()
    for packed in two_passes():
        count = len(packed.ids)
        # padding, as compiled products ask for
        query = torch.randn(count + 3, HEADS, SIZE).to(dtype)
        keys, values = torch.randn(2, count + 3, SHARED, SIZE).to(dtype)
        outputs = []
        for cache in caches:
            cache.reserve(*packed.used)
        slots = torch.from_numpy(caches[0].slot_mapping(packed.rows, packed.slots))
        for attention in (
            packed_attention(packed, caches[0], slots, dtype=dtype, tokens=len(slots)),
            cascade_attention(packed, caches[1], slots),
        ):
            outputs.append(attention(0, QKV(query, keys, values), SIZE**-0.5))
        torch.testing.assert_close(*outputs, atol=tolerance, rtol=tolerance)


def test_cascade_merges_parts_of_very_different_weight() -> None:
    small, large = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    weights = torch.tensor([[-3000.0]]), torch.tensor([[3000.0]])
    both = merged(Attended(small, weights[0]), Attended(large, weights[1]))
    assert both.tolist() == [[[1.0, 1.0]]]


def test_cascade_on_a_pretended_gpu_mixes_no_devices(
    gpus: PretendedGPUs, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    def plain(
        query: Any, key: Any, value: Any, queries: Any, keys: Any, *_: int, **how: Any
    ) -> Attended:
        held = [part.cpu() for part in (query, key, value)]
        counts = [starts.diff().tolist() for starts in (queries.cpu(), keys.cpu())]
        found = attend_ragged(QKV(*held), Lengths(*counts, queries, keys), **how)
        return Attended(*(part.to(query.device) for part in found))

    lm, prompt = forcible("llama", prefix_lm=True)
    lm.model.to(torch.bfloat16)
    gold = {text: {"PER": text.split()[:2]} for text in random_texts(seed=3, count=6)}
    forced = ForcedOutputs(prompt, gold)
    expected = decode(CASCADE, lm, prompt, list(gold), LABELS, forced=forced)
    monkeypatch.setattr(ragged, "varlen_attention", plain)
    lm.model.to("cuda")
    passes.clear()
    found = decode(CASCADE, lm, prompt, list(gold), LABELS, forced=forced)
    assert passes
    assert same(found, expected)


@on_cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_cascade_on_cuda_kernel_equals_plain_products(
    dtype: torch.dtype, causal: bool
) -> None:
    torch.manual_seed(0)
    queries = [3, 40, 1, 300]
    keys = queries if causal else [50, 7, 1, 200]
    qkv = QKV(
        torch.randn(sum(queries), HEADS, SIZE, dtype=dtype),
        *torch.randn(2, sum(keys), SHARED, SIZE, dtype=dtype),
    )
    starts = [
        torch.tensor([0, *counts]).cumsum(0).int().cuda() for counts in (queries, keys)
    ]
    lengths = Lengths(queries, keys, *starts)
    expected = attend_ragged(qkv, lengths, 0.3, causal=causal)
    on_gpu = QKV(*(part.cuda() for part in qkv))
    found = attend_ragged(on_gpu, lengths, 0.3, causal=causal)
    for part, wanted in zip(found, expected, strict=True):
        assert part.dtype == wanted.dtype
        torch.testing.assert_close(part.cpu(), wanted, atol=0.02, rtol=0.02)


@on_cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prefix_lm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cascade_on_cuda_scores_are_close(
    kind: str, prefix_lm: bool, dtype: torch.dtype, passes: list[int]
) -> None:
    lm, prompt = forcible(kind, prefix_lm=prefix_lm)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(0.05)  # else next tokens are sure
    lm.model.to("cuda", dtype)
    gold = {text: {"PER": text.split()[:2]} for text in random_texts(seed=3, count=20)}
    forced = ForcedOutputs(prompt, gold)
    expected, found = (
        decode(decoder, lm, prompt, list(gold), LABELS, forced=forced)
        for decoder in (TreeDecoder(), TreeDecoder(cascade_attention=True))
    )
    assert passes
    for one, other, (text, mentions) in zip(found, expected, gold.items(), strict=True):
        assert [m.text for m in one] == mentions["PER"], text
        scores = [math.log(m.score) for m in other]
        assert [math.log(m.score) for m in one] == pytest.approx(scores, abs=0.3)
