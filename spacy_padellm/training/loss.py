"""The loss of token trees, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.training.separate_examples import unroll
from spacy_padellm.training.targets import TrainingTree
from spacy_padellm.tree.token_tree import TokenTree, side_by_side


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


def fit_trees(lm: LanguageModel, trees: Sequence[TrainingTree]) -> list[TrainingTree]:
    """Trees as the model can read them: unrolled where it cannot read trees.

    RAISES (ValueError): If it can read neither.
    """
    reason = why_no_tree(lm, max(tree.depth for tree in trees))
    if not reason:
        return list(trees)
    if any(tree.bidirectional_span[1] for tree in trees):
        raise ValueError(Errors.P127.format(reason=reason))
    return [example for tree in trees for example in unroll(tree)]


def tree_loss(lm: LanguageModel, trees: Sequence[TrainingTree]) -> torch.Tensor:
    """The weighted sum of the cross-entropies of a batch of trees.

    Divide by the weights' sum for the mean that the paper minimises.

    trees (Sequence[TrainingTree]): As `fit_trees` gives them.
    RETURNS (torch.Tensor): A float32 scalar with its gradient.
    RAISES (ValueError): If it is no number, or a tree is too deep for the model.
    """
    width = max(tree.size for tree in trees)
    grown = []
    logit_positions: list[int] = []
    for row, tree in enumerate(trees):
        grown.append(TokenTree(bidirectional_span=tree.bidirectional_span))
        for parent, ids in tree.chains:
            grown[-1].extend(parent, ids)
        logit_positions += [row * width + place for place in tree.places]
    targets = [target for tree in trees for target in tree.targets]
    weights = [weight for tree in trees for weight in tree.weights]
    tags = _Tagging(trees, width)
    batch = side_by_side(grown)
    depth = max(tree.depth for tree in trees)
    if depth > lm.context:
        raise ValueError(Errors.P121.format(tokens=depth, context=lm.context))
    if why_no_tree(lm, depth):
        logits = lm.sequence_logits(batch, logit_positions)
        return _number(_weighted_loss(logits, targets, weights))
    logits, tag_logits = lm.logits(
        batch, logit_positions, tag_positions=tags.positions, tag_ids=tags.tag_ids
    )
    loss = _weighted_loss(logits, targets, weights)
    if tags.positions:
        allowed = tags.allowed.to(tag_logits.device)
        tag_logits = tag_logits.masked_fill(~allowed, -torch.inf)
        loss = loss + _weighted_loss(tag_logits, tags.targets, tags.weights)
    return _number(loss)


def _number(loss: torch.Tensor) -> torch.Tensor:
    if not torch.isfinite(loss):
        raise ValueError(Errors.P123)
    return loss


def _weighted_loss(
    logits: torch.Tensor, targets: Sequence[int], weights: Sequence[float]
) -> torch.Tensor:
    device = logits.device
    losses = F.cross_entropy(
        logits.float(), torch.tensor(targets, device=device), reduction="none"
    )
    return losses @ torch.tensor(weights, dtype=torch.float32, device=device)


class _Tagging:
    """The tags of a batch of trees.

    positions (list[int]): Where tags are chosen, each as row * width + slot.
    tag_ids (list[int]): The tags of all trees.
    targets, weights (list): The right one of `tag_ids` and its weight, for each
        position.
    allowed (torch.Tensor): (positions, tag_ids): which ones each chooses from.
    """

    def __init__(self, trees: Sequence[TrainingTree], width: int) -> None:
        tagged = [(row, tree.tags) for row, tree in enumerate(trees) if tree.tags]
        self.tag_ids = sorted({c for _, tags in tagged for c in tags.tag_ids})
        number = {choice: n for n, choice in enumerate(self.tag_ids)}
        self.positions: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []
        allowed: list[list[bool]] = []
        for row, tags in tagged:
            size = len(tags.targets)
            first = row * width + tags.first
            self.positions += range(first, first + size)
            self.targets += [number[target] for target in tags.targets]
            self.weights += [tags.weight] * size
            allowed += [[choice in tags.tag_ids for choice in self.tag_ids]] * size
        self.allowed = torch.tensor(allowed, dtype=torch.bool)
