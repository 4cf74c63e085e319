"""The component's training: gradients of batches add up until a step is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.small_model import make_lm
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.training.loss import batches, fit_trees
from spacy_padellm.training.optimizers import apply_step, make_optimizers
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.tags import add_tags, with_tags_of
from spacy_padellm.training.targets import TrainingTree, make_targets
from spacy_padellm.training.thinc_model import TreeModel, get_handle

TAG_LOSS = 1.0  # of a model that tags its texts, unless the settings say otherwise


@dataclass(slots=True)
class Updates:
    """The updates since the last step, and what makes the step.

    count (int): How many there were; their gradients are added up in the model.
    optimizers (Sequence[torch.optim.Optimizer]): Made for the first step.
    """

    count: int = 0
    optimizers: Sequence[torch.optim.Optimizer] = ()


def make_from_scratch(
    model: TreeModel, texts: Sequence[str], *, prompt: Prompt
) -> None:
    """Make a model whose tokenizer is learnt from texts.

    model (TreeModel): `spacy-padellm.SmallCausalLM.v1`.
    texts (Sequence[str]): The texts.
    prompt (Prompt): The prompt, whose special tokens the tokenizer gets.
    """
    shape, special_tokens = model.attrs["shape"], prompt.special_tokens
    get_handle(model).put(lambda: make_lm(texts, shape, special_tokens=special_tokens))


def add_update(
    updates: Updates,
    golds: Sequence[tuple[dict[str, str], list[GoldText]]],
    *,
    model: TreeModel,
    decoder: Decoder,
    prompt: Prompt,
    settings: TrainingSettings,
) -> float:
    """Add the gradient of the mean loss of gold texts to the model's.

    updates (Updates): The updates since the last step, of which this is one.
    golds (Sequence[tuple[dict[str, str], list[GoldText]]]): Label -> its name in the
        prompt, and the gold texts to find these labels in.
    model (TreeModel): The model.
    decoder (Decoder): What the model is to answer.
    prompt (Prompt): The prompt.
    settings (TrainingSettings): How the model is trained.
    RETURNS (float): The mean loss.
    RAISES (ValueError): If the model cannot be loaded, a text does not fit it, or the
        loss is no number.
    """
    lm = get_handle(model).trainable(prompt.special_tokens)
    lm.model.train()
    if settings.gradient_checkpointing:
        # the reentrant kind gives adapters no gradient
        lm.model.gradient_checkpointing_enable({"use_reentrant": False})
    trees: list[TrainingTree] = []
    taught = lm.tags
    weight = settings.tag_loss
    if weight is None:
        # tags that are not taught any more would go on saying what they were taught
        weight = TAG_LOSS if taught.inside else 0.0
    for labels, texts in golds:
        tokens = lm.tokens_of(prompt)
        targets = make_targets(
            decoder.output_format,
            tokens,
            texts,
            labels,
            mention_prefix_loss=settings.mention_prefix_loss,
        )
        if weight:
            taught = with_tags_of(taught, tokens, texts, list(labels.values()))
            add_tags(
                targets,
                texts,
                prompt=tokens,
                labels=labels,
                tags=taught,
                weight=weight,
            )
        trees += targets
    trees = fit_trees(lm, trees)
    total = sum(tree.weight for tree in trees)
    mean = 0.0
    try:
        for batch in batches(trees, settings.max_batch_tokens):
            loss, backprop = model.begin_update(batch)
            backprop(1 / total)
            mean += float(loss) / total
    except Exception:
        # half of a batch's gradient must not be in the next step
        lm.model.zero_grad()
        updates.count = 0
        raise
    if weight:
        # not before: a model that was not taught to tag must not be asked for tags
        lm.tags = taught
    elif taught.inside:
        lm.tags = replace(taught, inside={}, begins={}, sets=[])
    updates.count += 1
    return mean


def make_step(
    updates: Updates, lm: LanguageModel, sgd: Any, *, settings: TrainingSettings
) -> None:
    """Apply the mean gradient of the updates since the last step.

    updates (Updates): The updates, at least one; then none.
    lm (LanguageModel): The model.
    sgd (thinc.api.Optimizer): `[training.optimizer]`, at its current step.
    settings (TrainingSettings): How the model is trained.
    RAISES (ValueError): If `sgd` averages parameters.
    """
    if not updates.optimizers:
        updates.optimizers = make_optimizers(lm, muon=settings.muon)
    apply_step(updates.optimizers, sgd, scale=1 / updates.count)
    updates.count = 0
