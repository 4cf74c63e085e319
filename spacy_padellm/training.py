"""Training: gold mentions as token trees with loss weights, the loss, the step.

A tree holds what the paper unrolls into one example for each mention (section 3.2):
its loss and its gradient are the same, because a token that several examples share
weighs as many times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from spacy_padellm.decoding.base import check_context
from spacy_padellm.errors import Errors
from spacy_padellm.lm import LanguageModel
from spacy_padellm.prompt import CountBranches, PromptTokens
from spacy_padellm.tree import ROOT, TreeBatch


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a component is trained.

    mention_prefix_loss (bool): Whether the tokens of `<mention n>` are learnt too
        (the paper's choice; without them is one of its ablations).
    max_batch_tokens (int): Tokens of a forward and backward pass, padding included;
        a batch of more is cut into several whose gradients add up.
    gradient_checkpointing (bool): Compute activations again in the backward pass:
        less memory, more time.
    """

    mention_prefix_loss: bool = True
    max_batch_tokens: int = 4096
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class GoldText:
    """A text and its gold mentions.

    mentions (Mapping[str, Sequence[str]]): Label -> mention strings in text order.
    """

    text: str
    mentions: Mapping[str, Sequence[str]]


@dataclass(slots=True)
class TrainingTree:
    """A text's token tree, with what is to be predicted where.

    chains (list[tuple[int, list[int]]]): Parent and tokens of each chain; tokens are
        numbered in this order.
    places, targets (list[int]): After which token which token is to be predicted.
    weights (list[float]): How many of the paper's examples hold each prediction.
    """

    chains: list[tuple[int, list[int]]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    size: int = 0

    def extend(self, parent: int, ids: Sequence[int], *, weight: float = 0) -> int:
        """Hang a chain of tokens under a node.

        weight (float): Of the prediction of each of these tokens.
        RETURNS (int): The chain's last token, or the parent of an empty chain.
        """
        if not ids:
            return parent
        if weight:
            for place, target in enumerate(ids, start=self.size - 1):
                self.predict(parent if place < self.size else place, target, weight)
        self.chains.append((parent, list(ids)))
        self.size += len(ids)
        return self.size - 1

    def predict(self, place: int, target: int, weight: float) -> None:
        """Let the token after `place` be learnt."""
        self.places.append(place)
        self.targets.append(target)
        self.weights.append(weight)


def make_tree(
    gold: GoldText,
    branches: CountBranches,
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    mention_prefix_loss: bool,
) -> TrainingTree:
    """Lay a text's examples out as one tree.

    gold (GoldText): The text and its mentions.
    branches (CountBranches): Its count prompts.
    prompt (PromptTokens): The prompt.
    labels (Mapping[str, str]): Label -> its name in the prompt.
    mention_prefix_loss (bool): Whether `<mention n>` is learnt.
    """
    tree = TrainingTree()
    root = tree.extend(ROOT, branches.root)
    for (label, name), ids in zip(labels.items(), branches.labels, strict=True):
        end = tree.extend(root, ids)
        mentions = gold.mentions.get(label, ())
        if not mentions:
            *answer, eos = prompt.count_answer(0)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
            continue
        count = len(mentions)
        prompts = prompt.mention_branches(gold.text, name, count, count)
        if prompts.keep is not None:
            back = len(branches.root) + len(ids) - prompts.keep
            end = end - back if back < len(ids) else root - (back - len(ids))
        counted = prompts.stem[: prompts.counted]
        stem = tree.extend(end, counted, weight=count)
        prefix_weight = int(mention_prefix_loss)
        shared = prompts.stem[prompts.counted :]
        stem = tree.extend(stem, shared, weight=count * prefix_weight)
        for mention, prefix in zip(mentions, prompts.mentions, strict=True):
            end = tree.extend(stem, prefix, weight=prefix_weight)
            *answer, eos = prompt.mention_answer(mention)
            tree.predict(tree.extend(end, answer, weight=1), eos, 1)
    return tree


def make_trees(
    lm: LanguageModel,
    golds: Sequence[GoldText],
    *,
    prompt: PromptTokens,
    labels: Mapping[str, str],
    mention_prefix_loss: bool,
) -> list[TrainingTree]:
    """The trees of several texts.

    RAISES (ValueError): If a text does not fit the model's context.
    """
    texts = [gold.text for gold in golds]
    trees = []
    asked = prompt.count_branches(texts, list(labels.values()))
    for gold, branches in zip(golds, asked, strict=True):
        check_context(branches, lm)
        tree = make_tree(
            gold,
            branches,
            prompt=prompt,
            labels=labels,
            mention_prefix_loss=mention_prefix_loss,
        )
        trees.append(tree)
    return trees


def batches(
    trees: Sequence[TrainingTree], max_tokens: int
) -> Iterator[list[TrainingTree]]:
    """Cut trees into batches of like size, of at most `max_tokens` with padding."""
    batch: list[TrainingTree] = []
    for tree in sorted(trees, key=lambda tree: tree.size):
        if batch and tree.size * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(tree)
    if batch:
        yield batch


def tree_loss(lm: LanguageModel, trees: Sequence[TrainingTree]) -> torch.Tensor:
    """The weighted sum of the cross-entropies of a batch of trees.

    Divide by the weights' sum for the mean that the paper minimises.
    RETURNS (torch.Tensor): A float32 scalar with its gradient.
    RAISES (ValueError): If it is no number.
    """
    width = max(tree.size for tree in trees)
    batch = TreeBatch(len(trees))
    reads: list[int] = []
    for row, tree in enumerate(trees):
        for parent, ids in tree.chains:
            batch.extend(row, parent, ids)
        reads += [row * width + place for place in tree.places]
    targets = [target for tree in trees for target in tree.targets]
    weights = [weight for tree in trees for weight in tree.weights]
    logits = lm.logits(batch.advance(), reads).float()
    losses = F.cross_entropy(
        logits, torch.tensor(targets, device=logits.device), reduction="none"
    )
    loss = losses @ torch.tensor(weights, dtype=torch.float32, device=logits.device)
    if not torch.isfinite(loss):
        raise ValueError(Errors.P123)
    return loss


# The step


def make_optimizer(lm: LanguageModel) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; norms and biases do not decay."""
    trainable = [p for p in lm.model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.dim() > 1], "decays": True},
        {"params": [p for p in trainable if p.dim() < 2], "decays": False},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def apply_step(optimizer: torch.optim.AdamW, sgd: Any, *, scale: float) -> None:
    """Apply the accumulated gradients with the settings of spaCy's optimizer.

    optimizer (torch.optim.AdamW): Does the work and keeps the moments.
    sgd (thinc.api.Optimizer): `[training.optimizer]`, at its current step. Its
        `grad_clip` is taken as the limit of the global norm.
    scale (float): What to multiply the gradients with.
    RAISES (ValueError): If averages are asked for.
    """
    if sgd.averages is not None:
        raise ValueError(Errors.P124)
    for group in optimizer.param_groups:
        group["lr"] = float(sgd.learn_rate)
        group["betas"] = (float(sgd.b1), float(sgd.b2))
        group["eps"] = float(sgd.eps)
        group["weight_decay"] = float(sgd.L2) if group["decays"] else 0.0
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if scale != 1:
        torch._foreach_mul_(gradients, scale)
    if sgd.grad_clip:
        torch.nn.utils.clip_grad_norm_(parameters, float(sgd.grad_clip))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
