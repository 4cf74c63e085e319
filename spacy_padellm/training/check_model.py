"""Checks of a model and its prompt, before the first step of a training."""

from __future__ import annotations

from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.lm.language_model import LanguageModel
from spacy_padellm.lm.tree_support import why_no_tree
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.training.settings import TrainingSettings
from spacy_padellm.training.tags import check_tag_prompt, tag_loss_weight


def check_prompt(prompt: Prompt, settings: TrainingSettings) -> None:
    """Check that a model can be trained with a prompt, as far as that is known without
    the model.

    prompt (Prompt): The prompt.
    settings (TrainingSettings): How the model is trained.
    RAISES (ValueError): If tags are to be trained, and the prompt does not allow that.
    """
    if settings.tag_loss:
        check_tag_prompt(prompt)


def check_model(lm: LanguageModel, prompt: Prompt, settings: TrainingSettings) -> None:
    """Check that a model can be trained with a prompt.

    lm (LanguageModel): The model, prepared for training.
    prompt (Prompt): The prompt.
    settings (TrainingSettings): How the model is trained.
    RAISES (ValueError): If it cannot run, be tagged, or save memory as they ask for.
    """
    reason = why_no_tree(lm, 0) if prompt.prefix_lm else ""
    if reason:
        raise ValueError(Errors.P127.format(reason=reason))
    if tag_loss_weight(settings.tag_loss, lm.tags):
        check_tag_prompt(prompt)
        if not lm.tokenizer.is_fast:
            raise ValueError(Errors.P108)
    if settings.gradient_checkpointing:
        enable_checkpointing(lm.model)


def enable_checkpointing(model: Any) -> None:
    """Let a model compute activations again in the backward pass.

    model (transformers.PreTrainedModel): The model.
    RAISES (ValueError): If it cannot.
    """
    # the name since transformers 5.24, and the one before
    enable = getattr(model, "activation_checkpointing_enable", None)
    enable = enable or model.gradient_checkpointing_enable
    try:
        # the reentrant kind gives adapters no gradient
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ValueError(Errors.P761.format(error=error)) from error
