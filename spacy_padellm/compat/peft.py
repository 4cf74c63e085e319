"""Uses of peft that its documentation does not promise."""

from __future__ import annotations

from typing import Any

import torch


def base_model(model: Any) -> Any:
    """The model of transformers inside of one with adapters, or the model itself.

    Seen on peft 0.21.2: adapters are modules inside of the base model, so it computes
    with them; `generate` of a plain `PeftModel` reads the base model's settings.

    model (transformers.PreTrainedModel): The model.
    """
    return model.get_base_model() if hasattr(model, "peft_config") else model


def stored_weight(layer: Any) -> torch.Tensor:
    """The weight of a layer as it is stored, to look at its device, dtype or shape.

    Seen on peft 0.21.2: where some tokens are trained, each look at `weight` copies the
    whole matrix, and `original_module` is the layer without them.

    layer (torch.nn.Module): Embeddings, or a vocabulary head.
    """
    weight: torch.Tensor = getattr(layer, "original_module", layer).weight
    return weight
