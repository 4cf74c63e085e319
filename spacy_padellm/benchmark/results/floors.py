"""The machine's floor: the shortest time in which a decoder could do the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from spacy_padellm.benchmark.measuring.measure import wait
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.layers.fused import count_int8
from spacy_padellm.lm.layers.int8 import Int8Projection, quantize
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens
from spacy_padellm.training.targets import make_mention_trees

READ_AT_MOST = 2 << 30  # bytes; beyond the caches the time is proportional to the size
PRODUCT_ROWS = 1024
TRIES = 5


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's sizes.

    read (int): Bytes that each pass reads: all weights, except input embeddings that
        are not tied to the vocabulary projection.
    inner (int): Parameters outside the vocabulary's matrices; used for each token.
    head (int): Parameters of the vocabulary projection; used for each output.
    """

    read: int
    inner: int
    head: int


@dataclass(frozen=True, slots=True)
class Speeds:
    """The speed of the machine.

    read_seconds (float): Seconds to read the weights once.
    bandwidth (float): Bytes read in a second.
    product_rate (float): Operations of a large matrix product in a second, as the
        model's layers compute it.
    """

    read_seconds: float
    bandwidth: float
    product_rate: float


@dataclass(frozen=True, slots=True)
class Need:
    """The least work that a text needs with any decoder.

    passes (int): Forward passes that depend on each other.
    tokens (int): Tokens of its tree: each prompt and answer once, shared prefixes once.
    outputs (int): Outputs of the vocabulary projection.
    """

    passes: int
    tokens: int
    outputs: int


def sizes(lm: LanguageModel) -> Weights:
    """A model's sizes.

    lm (LanguageModel): The model.
    """
    looked_up, projected = _tables(lm)
    read = inner = 0
    for parameter in lm.model.parameters():
        if id(parameter) in projected or id(parameter) not in looked_up:
            read += parameter.numel() * parameter.element_size()
        if id(parameter) not in looked_up | projected:
            inner += parameter.numel()
    head = lm.model.get_output_embeddings().weight
    if lm.int8:
        read -= count_int8(lm.model) * (head.element_size() - 1)
    return Weights(read, inner, head.numel())


def _tables(lm: LanguageModel) -> tuple[set[int], set[int]]:
    """The parameters of the input embeddings, and of the vocabulary projection.

    Layers that peft wraps have several each, and share those that are tied.
    """
    model = lm.model
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    looked_up, projected = ({id(p) for p in layer.parameters()} for layer in layers)
    return looked_up, projected


def speeds(lm: LanguageModel) -> Speeds:
    """Measure the speed of the machine for a model of this size.

    Reading: the faster of a sum of integers and a sum of floats over a buffer of the
    size of the weights, so that weights that fit the caches are read from there.
    Products: PRODUCT_ROWS rows by the model's largest inner matrix; where some products
    are of 8-bit numbers, the mean of both kinds.

    lm (LanguageModel): The model.
    """
    weights, device = sizes(lm), lm.device
    # ones, because memory is allocated only when it is written
    size = min(weights.read, READ_AT_MOST) // 8
    floats = torch.ones(2 * size, dtype=torch.float32, device=device)
    numbers = floats.view(torch.int64)
    with torch.inference_mode():
        fastest = min(_best(numbers.sum, device), _best(floats.sum, device))
        bandwidth = size * 8 / fastest
        tables = set.union(*_tables(lm))
        inner = [
            p for p in lm.model.parameters() if p.dim() == 2 and id(p) not in tables
        ]
        matrix = max(inner, key=lambda p: p.numel())
        seconds = _best(_float_product(matrix), device)
        if lm.int8:
            share = count_int8(lm.model) / weights.inner
            fast = _best(_int8_product(matrix), device)
            seconds = share * fast + (1 - share) * seconds
    rate = 2 * PRODUCT_ROWS * matrix.numel() / seconds
    return Speeds(weights.read / bandwidth, bandwidth, rate)


def _float_product(matrix: torch.Tensor) -> Callable[[], object]:
    """A product of PRODUCT_ROWS rows by a matrix of a model."""
    rows = _rows(matrix)
    return lambda: torch.nn.functional.linear(rows, matrix)


def _int8_product(matrix: torch.Tensor) -> Callable[[], object]:
    """The same with 8-bit numbers, of rows that are rounded already."""
    projection, codes = Int8Projection(matrix), quantize(_rows(matrix))
    return lambda: projection(codes, matrix.dtype)


def _rows(matrix: torch.Tensor) -> torch.Tensor:
    shape = PRODUCT_ROWS, matrix.shape[1]
    return torch.randn(shape, dtype=matrix.dtype, device=matrix.device)


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest try after the first."""
    best = float("inf")
    for turn in range(TRIES + 1):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        if turn:
            best = min(best, time.perf_counter() - start)
    return best


def needs(
    prompt: PromptTokens,
    golds: Sequence[GoldText],
    labels: Mapping[str, str],
    *,
    tags: bool,
) -> list[Need]:
    """The least work for the gold mentions of texts; see `Need`.

    One pass runs the text and all labels, and gives the first tokens of the counts. If
    there are mentions, at least two more are needed: one runs the counts and gives the
    first tokens of the mentions, one verifies the rest of the mentions, drafted
    correctly. Each further token of a count needs another pass, except a space before
    it. If tags are sure, one pass over the text alone is enough.

    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts and their gold mentions.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    tags (bool): Whether the model tags its texts.
    """
    if tags:
        prompts = prompt.count_prompts([g.text for g in golds], list(labels.values()))
        return [Need(1, len(text.root), 0) for text in prompts]
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions for gold in golds})
    trees = make_mention_trees(prompt, golds, labels, mention_prefix_loss=False)
    result = []
    for gold, tree in zip(golds, trees, strict=True):
        digits = max(_count_tokens(prompt, forced.count(gold.text, k)) for k in labels)
        further = digits - len(prompt.count_start)
        passes = 2 + further if any(map(gold.mentions.get, labels)) else 1
        result.append(Need(passes, tree.size, len(tree.positions)))
    return result


def _count_tokens(prompt: PromptTokens, answer: Sequence[int]) -> int:
    """Tokens of a count, without the one that shows that it is complete."""
    for length in range(1, MAX_COUNT_TOKENS):
        if prompt.read_count(answer[:length])[1]:
            return length - 1
    return MAX_COUNT_TOKENS - 1


def floor_alone(need: Need, weights: Weights, speed: Speeds) -> float:
    """The shortest time of a single text in seconds: for reading or computing.

    need (Need): The work of the text.
    weights (Weights): The sizes of the model.
    speed (Speeds): The speed of the machine.
    """
    return max(need.passes * speed.read_seconds, floor_product(need, weights, speed))


def floor_product(need: Need, weights: Weights, speed: Speeds) -> float:
    """The shortest time of a text's matrix products in seconds, in any batch.

    need (Need): The work of the text.
    weights (Weights): The sizes of the model.
    speed (Speeds): The speed of the machine.
    """
    inner = 2 * need.tokens * weights.inner
    return (inner + 2 * need.outputs * weights.head) / speed.product_rate
