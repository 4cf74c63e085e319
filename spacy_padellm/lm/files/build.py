"""Make a model from weights in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from spacy_padellm.compat.transformers import dtype_option


def build_model(
    config: Any,
    weights: Mapping[str, torch.Tensor],
    *,
    dtype: torch.dtype,
    options: Mapping[str, Any] | None = None,
) -> tuple[Any, list[str]]:
    """Make a causal LM from weights in memory.

    config (transformers.PretrainedConfig): The model's config.
    weights (Mapping[str, torch.Tensor]): Parameter name -> weights.
    dtype (torch.dtype): The dtype of the model.
    options (Mapping[str, Any] | None): Other arguments of `from_pretrained`.
    RETURNS (tuple[Any, list[str]]): The PreTrainedModel, and the names of missing
        weights.
    """
    with torch.device("meta"):  # only its class is needed
        kind = type(AutoModelForCausalLM.from_config(config))
    model, report = kind.from_pretrained(
        None,
        config=config,
        state_dict=dict(weights),
        output_loading_info=True,
        **dtype_option(dtype),
        **(options or {}),
    )
    return model, sorted(report["missing_keys"])
