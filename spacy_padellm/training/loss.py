"""The loss of batches of training trees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from spacy_padellm.errors import Errors
from spacy_padellm.lm.devices.upload import send, upload
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import most_pass_tokens, why_no_tree
from spacy_padellm.training.separate_examples import separate_examples
from spacy_padellm.training.tags import TagBatch
from spacy_padellm.training.targets import TrainingTree
from spacy_padellm.tree.token_tree import TokenTree, pad_trees

# logits whose float32 copies take 256 MB
_MOST_LOGITS = 1 << 26


def batches(
    trees: Sequence[TrainingTree], max_tokens: int
) -> Iterator[list[TrainingTree]]:
    """Group trees of similar size into batches.

    trees (Sequence[TrainingTree]): The trees.
    max_tokens (int): Limit of a batch's tokens, including padding; a larger tree is a
        batch of its own.
    YIELDS (list[TrainingTree]): The trees of a batch.
    """
    batch: list[TrainingTree] = []
    for tree in sorted(trees, key=lambda tree: tree.size):
        if batch and tree.size * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(tree)
    if batch:
        yield batch


def supported_trees(
    lm: LanguageModel, trees: Sequence[TrainingTree]
) -> list[TrainingTree]:
    """Unroll trees into separate examples where the model does not support trees, or
    not of their size.

    lm (LanguageModel): The model.
    trees (Sequence[TrainingTree]): The trees.
    RETURNS (list[TrainingTree]): The trees, or their separate examples.
    RAISES (ValueError): If it does not support bidirectional spans, and the trees have
        them.
    """
    reason = why_no_tree(lm, max(tree.depth for tree in trees))
    if reason and any(tree.bidirectional_span[1] for tree in trees):
        raise ValueError(Errors.P127.format(reason=reason))
    # as in decoding, a single tree may have more tokens than the model can count
    most = 0 if reason else most_pass_tokens(lm.model.config.get_text_config())
    if most is None:
        return list(trees)
    fitted: list[TrainingTree] = []
    for tree in trees:
        fitted += [tree] if tree.size <= most else separate_examples(tree)
    return fitted


@dataclass(frozen=True, slots=True)
class _Targets:
    """The tokens that a pass is to predict, on the model's device.

    ids (int64): (positions,), the tokens.
    weights (float32): (positions,), their loss weights.
    """

    ids: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def on(
        cls, device: torch.device, ids: Sequence[int], weights: Sequence[float]
    ) -> _Targets:
        (sent,) = upload([ids], device)
        rows = torch.tensor(weights, dtype=torch.float32, device="cpu")
        return cls(sent, send(rows, device))

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """The weighted sum of the cross-entropies."""
        rows = max(1, _MOST_LOGITS // logits.shape[-1])
        if len(logits) <= rows:
            return _weighted_loss(logits, self.ids, self.weights)
        # the float32 copies of a piece are made again for its gradient
        piece_loss = partial(
            checkpoint, _weighted_loss, use_reentrant=False, preserve_rng_state=False
        )
        pieces = zip(
            *(part.split(rows) for part in (logits, self.ids, self.weights)),
            strict=True,
        )
        return torch.stack([piece_loss(*piece) for piece in pieces]).sum()


def _weighted_loss(
    logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    return F.cross_entropy(logits.float(), ids, reduction="none") @ weights


def tree_loss(lm: LanguageModel, trees: Sequence[TrainingTree]) -> torch.Tensor:
    """The weighted sum of the cross-entropies of a batch of trees.

    The paper minimizes the mean: divide by the sum of the weights.

    lm (LanguageModel): The model.
    trees (Sequence[TrainingTree]): Trees returned by `supported_trees`.
    RETURNS (torch.Tensor): A float32 scalar with its gradient.
    RAISES (ValueError): If a tree is too deep for the model.
    """
    width = max(tree.size for tree in trees)
    token_trees = []
    logit_positions: list[int] = []
    for row, tree in enumerate(trees):
        token_tree = TokenTree(bidirectional_span=tree.bidirectional_span)
        for parent, ids in tree.chains:
            token_tree.extend(parent, ids)
        token_trees.append(token_tree)
        logit_positions += [row * width + position for position in tree.positions]
    tags = TagBatch(trees, width)
    batch = pad_trees(token_trees)
    depth = max(tree.depth for tree in trees)
    if depth > lm.context:
        raise ValueError(Errors.P121.format(tokens=depth, context=lm.context))
    # sent before the pass: a transfer after it could wait for its end
    targets = _Targets.on(
        lm.device,
        [target for tree in trees for target in tree.targets],
        [weight for tree in trees for weight in tree.weights],
    )
    tag_targets = _Targets.on(lm.device, tags.targets, tags.weights)
    allowed = send(tags.allowed, lm.device)
    if why_no_tree(lm, depth):
        logits = lm.sequence_logits(batch, logit_positions)
        return targets.loss(logits)
    logits, tag_logits = lm.logits(
        batch, logit_positions, tag_positions=tags.positions, tag_ids=tags.tag_ids
    )
    loss = targets.loss(logits)
    if tags.positions:
        tag_logits = tag_logits.masked_fill(~allowed, -torch.inf)
        loss = loss + tag_targets.loss(tag_logits)
    return loss


def summed(losses: Sequence[torch.Tensor]) -> float:
    """Sum losses. The device is waited for once.

    losses (Sequence[torch.Tensor]): At least one scalar.
    RAISES (ValueError): If the sum is not finite.
    """
    total = float(torch.stack([loss.detach() for loss in losses]).sum())
    if not math.isfinite(total):
        raise ValueError(Errors.P123)
    return total
