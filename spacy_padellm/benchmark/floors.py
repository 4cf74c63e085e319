"""The machine's floor: the least time in which any decoder could do the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from spacy_padellm.benchmark.measure import wait
from spacy_padellm.decoding.forced import ForcedOutputs
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.tokens import MAX_COUNT_TOKENS, PromptTokens
from spacy_padellm.training.targets import make_trees

READ_AT_MOST = 2 << 30  # bytes; past the caches the time grows with the size
PRODUCT_ROWS = 1024
TRIES = 5


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's sizes.

    read (int): Bytes that each pass reads: all weights, without a table of input
        embeddings that is not the vocabulary projection too.
    inner (int): Parameters outside the vocabulary's matrices: used by each token.
    head (int): Parameters of the vocabulary projection: used where a next token is
        read.
    """

    read: int
    inner: int
    head: int


@dataclass(frozen=True, slots=True)
class Speeds:
    """What the machine reaches.

    read_seconds (float): To read the weights once.
    bandwidth (float): Bytes a second of that.
    product_rate (float): Operations a second of a large product in the model's dtype.
    """

    read_seconds: float
    bandwidth: float
    product_rate: float


@dataclass(frozen=True, slots=True)
class Need:
    """The least that a text needs, whatever the decoder.

    passes (int): Passes that wait for each other.
    tokens (int): Tokens of its tree: each prompt and answer once, shared beginnings
        once.
    reads (int): Next tokens to be read.
    """

    passes: int
    tokens: int
    reads: int


def sizes(lm: LanguageModel) -> Weights:
    """A model's sizes."""
    total = sum(p.numel() for p in lm.model.parameters())
    read = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    table = lm.model.get_input_embeddings().weight
    head = lm.model.get_output_embeddings().weight
    inner = total - head.numel()
    if table is not head:
        inner -= table.numel()
        read -= table.numel() * table.element_size()
    return Weights(read, inner, head.numel())


def speeds(lm: LanguageModel) -> Speeds:
    """Measure what the machine reaches with a model of these sizes.

    Reading: the fastest of a sum of integers and one of floats over a buffer of the
    size of the weights, so that weights that fit the caches are read from there.
    Products: PRODUCT_ROWS rows by the shape of the model's largest inner matrix.
    """
    weights, device = sizes(lm), lm.device
    # ones, since memory never written to would not be there to read
    size = min(weights.read, READ_AT_MOST) // 8
    floats = torch.ones(2 * size, dtype=torch.float32, device=device)
    numbers = floats.view(torch.int64)
    with torch.inference_mode():
        fastest = min(_best(numbers.sum, device), _best(floats.sum, device))
        bandwidth = size * 8 / fastest
        tables = (lm.model.get_input_embeddings(), lm.model.get_output_embeddings())
        inner = [
            p
            for p in lm.model.parameters()
            if p.dim() == 2 and all(p is not table.weight for table in tables)
        ]
        matrix = max(inner, key=lambda p: p.numel())
        rows = torch.randn(
            PRODUCT_ROWS, matrix.shape[1], dtype=matrix.dtype, device=device
        )
        seconds = _best(lambda: torch.nn.functional.linear(rows, matrix), device)
    rate = 2 * PRODUCT_ROWS * matrix.numel() / seconds
    return Speeds(weights.read / bandwidth, bandwidth, rate)


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest try, the first left out."""
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
    """The least that texts need to get their gold mentions; see `Need`.

    One pass reads the text and all labels and gives the counts' first tokens. If
    there are mentions, there are at least two more: one that reads the counts and
    gives the mentions' first tokens, and one that reads the rest of them, drafted
    right. A count of more than one token, but for a blank before it, needs a pass for
    each further one. Where tags are sure one pass over the text alone is enough.

    prompt (PromptTokens): The prompt.
    golds (Sequence[GoldText]): The texts.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    tags (bool): Whether the model tags its texts.
    """
    if tags:
        branches = prompt.count_branches([g.text for g in golds], list(labels.values()))
        return [Need(1, len(branch.root), 0) for branch in branches]
    forced = ForcedOutputs(prompt, {gold.text: gold.mentions for gold in golds})
    trees = make_trees(prompt, golds, labels, mention_prefix_loss=False)
    found = []
    for gold, tree in zip(golds, trees, strict=True):
        digits = max(_count_tokens(prompt, forced.count(gold.text, k)) for k in labels)
        further = digits - len(prompt.count_start)
        passes = 2 + further if any(map(gold.mentions.get, labels)) else 1
        found.append(Need(passes, tree.size, len(tree.positions)))
    return found


def _count_tokens(prompt: PromptTokens, answer: Sequence[int]) -> int:
    """Tokens of a count's answer before the one that shows that it is complete."""
    for length in range(1, MAX_COUNT_TOKENS):
        if prompt.read_count(answer[:length])[1]:
            return length - 1
    return MAX_COUNT_TOKENS - 1


def floor_alone(need: Need, weights: Weights, speed: Speeds) -> float:
    """Seconds that a text on its own takes at the least: reading or computing."""
    return max(need.passes * speed.read_seconds, floor_product(need, weights, speed))


def floor_product(need: Need, weights: Weights, speed: Speeds) -> float:
    """Seconds that a text's products take at the least, in any batch."""
    inner = 2 * need.tokens * weights.inner
    return (inner + 2 * need.reads * weights.head) / speed.product_rate
