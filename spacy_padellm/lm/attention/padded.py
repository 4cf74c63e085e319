"""Attention over padded trees, as training needs it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from spacy_padellm.compat.transformers import attention_name, swapped_attention
from spacy_padellm.lm.attention.products import (
    QKV,
    attend_fused,
    attend_plainly,
    repeated_mask,
)

# on a CPU, the backward pass of plain products is faster than that of fused attention
# for trees up to this width, in tokens
_NARROW = 256


@dataclass(frozen=True, slots=True)
class PaddedAttention:
    """The attention of a pass over padded trees, as in training.

    mask (torch.Tensor): (rows, 1, width, width), added to the attention scores.
    """

    mask: torch.Tensor
    repeated: dict[int, torch.Tensor] = field(default_factory=dict)

    def __call__(self, layer: int, qkv: QKV, scale: float) -> torch.Tensor:
        """Compute the attention of a layer.

        layer (int): The layer's index.
        qkv (QKV): Those of the tokens. Tokens beyond rows * width are padding.
        scale: See `attend_plainly`.
        RETURNS (torch.Tensor): (tokens, heads, head size).
        """
        query, key, value = qkv
        rows, _, width, _ = self.mask.shape
        count, extra = rows * width, len(query) - rows * width
        keys = key[:count].reshape(rows, width, *key.shape[1:])
        values = value[:count].reshape(rows, width, *value.shape[1:])
        output = self._attend(QKV(query[:count], keys, values), scale)
        return F.pad(output, (0, 0, 0, 0, 0, extra)) if extra else output

    def _attend(self, qkv: QKV, scale: float) -> torch.Tensor:
        query, keys, _ = qkv
        width = self.mask.shape[2]
        if query.device.type == "cpu" and width <= _NARROW:
            return attend_plainly(qkv, self.mask, scale)
        # one for all layers: each would be kept until the backward pass
        mask = repeated_mask(self.mask, query.shape[1] // keys.shape[2], self.repeated)
        return attend_fused(qkv, mask, scale)


def training_attention(
    model: Any, width: int, *, causal: bool
) -> AbstractContextManager[None]:
    """Let a model use its fastest attention for a pass with gradients.

    On a CPU the backward pass of fused attention with a mask is slow.

    model (transformers.PreTrainedModel): The model.
    width (int): The trees' width in tokens, padded.
    causal (bool): Whether no token attends to a later one.
    """
    config = model.config
    # the sdpa attention of transformers ignores soft-capping, and so does decoding then
    text = config.get_text_config()
    softcaps = getattr(text, "attn_logit_softcapping", None) is not None
    # checkpointing computes the pass again later, when this attention is not set
    if (
        attention_name(config) != "sdpa"
        or model.device.type != "cpu"
        or width > _NARROW
        # the eager attention of GPT-2 masks later tokens whatever the mask says
        or not causal
        or softcaps
        or model.is_gradient_checkpointing
    ):
        return nullcontext()
    return swapped_attention(model, "eager")
