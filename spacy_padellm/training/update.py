"""Training updates: gradients add up until the optimizer makes a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spacy_padellm.decoding.base import Decoder
from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.quantization.compute import is_quantized
from spacy_padellm.lm.small_model import make_lm
from spacy_padellm.lm.task.tags import TaughtTags
from spacy_padellm.mention.gold import GoldText
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.training.check_model import enable_checkpointing
from spacy_padellm.training.loss import batches, summed, supported_trees
from spacy_padellm.training.master_weights import MasterWeights
from spacy_padellm.training.optimizers import apply_step, make_optimizers
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.tags import (
    add_tags,
    tag_loss_weight,
    with_tags_of,
    without_tags,
)
from spacy_padellm.training.targets import TrainingTree, make_training_trees
from spacy_padellm.training.thinc_model import TreeModel, get_handle

# label -> its name in the prompt, and the gold texts with these labels
Golds = Sequence[tuple[Mapping[str, str], Sequence[GoldText]]]


@dataclass(slots=True)
class Updates:
    """The updates since the last step, and the optimizers.

    weight (float): The summed weight of the targets of these updates; the gradients of
        their summed losses are in the masters. 0 if there were no updates.
    masters (MasterWeights | None): Created at the first update.
    optimizers (Sequence[torch.optim.Optimizer]): Created at the first step.
    """

    weight: float = 0.0
    masters: MasterWeights | None = None
    optimizers: Sequence[torch.optim.Optimizer] = ()

    def forget(self) -> None:
        """Forget the updates since the last step, with their gradients."""
        self.weight = 0.0
        if self.masters is not None:
            self.masters.zero_grad()

    def __reduce__(self) -> Any:
        # copies and pickles of weights have no gradients
        return _without_gradients, (self.masters, self.optimizers)


def make_from_scratch(
    model: TreeModel, texts: Sequence[str], *, prompt: Prompt
) -> None:
    """Create a model from scratch, with a tokenizer trained on texts.

    model (TreeModel): `spacy-padellm.SmallCausalLM.v1`.
    texts (Sequence[str]): The texts.
    prompt (Prompt): The prompt; its special tokens are added to the tokenizer.
    """
    shape, special_tokens = model.attrs["shape"], prompt.special_tokens
    handle = get_handle(model)
    handle.use_new(lambda: make_lm(texts, shape, special_tokens=special_tokens))


def add_update(
    updates: Updates,
    golds: Golds,
    *,
    model: TreeModel,
    decoder: Decoder,
    prompt: Prompt,
    settings: TrainingSettings,
) -> float:
    """Add the gradient of the loss of gold texts to those of the updates before.

    updates (Updates): The updates since the last step; this one is added.
    golds (Golds): The gold texts by their labels.
    model (TreeModel): The model.
    decoder (Decoder): The decoder that the model is trained for.
    prompt (Prompt): The prompt.
    settings (TrainingSettings): How the model is trained.
    RETURNS (float): The mean loss.
    RAISES (ValueError): If the model cannot be loaded, a text does not fit it, the loss
        is not a number, or the model has no gradient checkpointing, or is to be saved
        in few bits, and has adapters.
    """
    lm = get_handle(model).trainable(prompt.special_tokens)
    if settings.gradient_checkpointing:
        enable_checkpointing(lm.model)
    if updates.masters is None:
        updates.masters = _make_masters(lm, settings)
    elif not updates.masters.is_of(lm.model):
        _follow_copy(updates, lm, settings)
    if not updates.weight:
        # float32 parameters are their own masters, and may have gradients of updates
        # that were forgotten before their step
        updates.forget()
    trees, tags = _make_trees(
        lm, golds, decoder=decoder, prompt=prompt, settings=settings
    )
    total = sum(tree.weight for tree in trees)
    losses = []
    try:
        for batch in batches(trees, settings.max_batch_tokens):
            loss, backprop = model.begin_update(batch)
            backprop(1.0)
            updates.masters.collect()
            losses.append(loss)
        mean = summed(losses) / total
        if tags != lm.tags:
            # only now: decoding asks for the tags that a model was trained on
            lm.tags = tags
        updates.weight += total
    except BaseException:  # also Ctrl-C
        # half of a batch's gradient must not be in the next step
        updates.forget()
        raise
    return mean


def mean_loss(
    golds: Golds,
    *,
    model: TreeModel,
    decoder: Decoder,
    prompt: Prompt,
    settings: TrainingSettings,
) -> tuple[float, float]:
    """The mean loss of gold texts; the model and its gradients do not change.

    golds, model, decoder, prompt, settings: See `add_update`.
    RETURNS (tuple[float, float]): The mean loss, and its derivative with respect to
        the summed loss, which is the model's output.
    RAISES (ValueError): As `add_update`.
    """
    lm = get_handle(model).lm()
    trees, _ = _make_trees(lm, golds, decoder=decoder, prompt=prompt, settings=settings)
    factor = 1 / sum(tree.weight for tree in trees)
    all_batches = batches(trees, settings.max_batch_tokens)
    return summed([model.predict(batch) for batch in all_batches]) * factor, factor


def _make_trees(
    lm: LanguageModel,
    golds: Golds,
    *,
    decoder: Decoder,
    prompt: Prompt,
    settings: TrainingSettings,
) -> tuple[list[TrainingTree], TaughtTags]:
    """The training trees of gold texts, and the model's tags after training on them."""
    tags = lm.tags
    weight = tag_loss_weight(settings.tag_loss, tags)
    tokens = lm.tokens_of(prompt)
    trees: list[TrainingTree] = []
    for labels, texts in golds:
        new = make_training_trees(
            decoder.output_format,
            tokens,
            texts,
            labels,
            mention_prefix_loss=settings.mention_prefix_loss,
        )
        if weight:
            tags = with_tags_of(tags, tokens, texts, list(labels.values()))
            add_tags(new, texts, prompt=tokens, labels=labels, tags=tags, weight=weight)
        trees += new
    return supported_trees(lm, trees), tags if weight else without_tags(tags)


def make_step(
    updates: Updates, lm: LanguageModel, sgd: Any, *, settings: TrainingSettings
) -> None:
    """Apply the gradient of the mean loss over all targets since the last step.

    So a batch that is cut in several updates makes the step of the whole batch.

    updates (Updates): At least one update; they are forgotten.
    lm (LanguageModel): The model.
    sgd (thinc.api.Optimizer): `[training.optimizer]`, at its current step.
    settings (TrainingSettings): How the model is trained.
    RAISES (ValueError): If `sgd` averages parameters, or is no AdamW.
    """
    assert updates.masters is not None
    if not updates.optimizers:
        _add_optimizers(updates, lm, settings)
    try:
        with lm.lock:  # another thread may decode with the model
            apply_step(updates.optimizers, sgd, scale=1 / updates.weight)
            updates.masters.publish()
    except KeyboardInterrupt:
        # half of the weights may have made the step
        updates.forget()
        raise
    updates.weight = 0.0


def get_state(updates: Updates, lm: LanguageModel) -> dict[str, Any]:
    """Get the float32 weights, the model's tags, and the state of the optimizers and of
    the random numbers.

    updates (Updates): The updates, after a step.
    lm (LanguageModel): The model.
    RETURNS (dict[str, Any]): For `set_state`, and to be saved with `torch.save`.
    """
    assert updates.masters is not None
    weights = {name: w.detach() for name, w in updates.masters.named().items()}
    return {
        "weights": weights,
        "optimizers": [optimizer.state_dict() for optimizer in updates.optimizers],
        "tags": lm.tags.to_dict(),
        "random": _random_states(lm.device),
    }


def set_state(
    updates: Updates,
    state: Mapping[str, Any],
    lm: LanguageModel,
    *,
    settings: TrainingSettings,
) -> None:
    """Continue from a state that `get_state` returned.

    updates (Updates): The updates; those since the last step are forgotten.
    state (Mapping[str, Any]): The state.
    lm (LanguageModel): The model, prepared for training.
    settings (TrainingSettings): How the model is trained.
    """
    updates.weight, updates.masters = 0.0, _make_masters(lm, settings)
    updates.masters.zero_grad()
    updates.masters.load(state["weights"])
    _add_optimizers(updates, lm, settings)
    pairs = zip(updates.optimizers, state["optimizers"], strict=True)
    for optimizer, optimizer_state in pairs:
        optimizer.load_state_dict(optimizer_state)
    lm.tags = TaughtTags.from_dict(state["tags"])
    _set_random_states(lm.device, state["random"])


def _without_gradients(
    masters: MasterWeights | None, optimizers: Sequence[torch.optim.Optimizer]
) -> Updates:
    if masters is not None:
        masters.zero_grad()
    return Updates(0.0, masters, optimizers)


def _follow_copy(
    updates: Updates, lm: LanguageModel, settings: TrainingSettings
) -> None:
    """Let updates that were copied with a quantized model train that copy.

    Such a model is pickled by itself, so what was copied beside it is not its own.
    Another model that is used instead is trained as it is.
    """
    is_copy = updates.optimizers and is_quantized(lm.model)
    state = get_state(updates, lm) if is_copy else None
    updates.masters, updates.optimizers, updates.weight = None, (), 0.0
    if state is None:
        updates.masters = _make_masters(lm, settings)
    else:
        set_state(updates, state, lm, settings=settings)


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's random numbers, which dropout draws."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_states(
    device: torch.device, states: Mapping[str, torch.Tensor]
) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _make_masters(lm: LanguageModel, settings: TrainingSettings) -> MasterWeights:
    if settings.quantized and hasattr(lm.model, "peft_config"):
        raise ValueError(Errors.P993)
    if settings.quantized is not None:
        lm.quantized = settings.quantized
    return MasterWeights(lm.model, quantized=lm.quantized)


def _add_optimizers(
    updates: Updates, lm: LanguageModel, settings: TrainingSettings
) -> None:
    assert updates.masters is not None
    weights = updates.masters.named()
    updates.optimizers = make_optimizers(lm.model, weights, muon=settings.muon)
