"""Packed attention, for every model that uses transformers' interface.

During a forward pass each layer of the model calls `attend`. It writes the new keys and
values to the KV cache, and computes attention row by row under the mask of the trees.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface

from spacy_padellm.compat.transformers import attention_name, swapped_attention
from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.attention.split import TreeAttention

NAME = "padellm_tree"
_running = threading.local()


@contextmanager
def used_by(model: Any, attention: TreeAttention) -> Iterator[None]:
    """Let a model of transformers attend to the rows of a cache.

    model (transformers.PreTrainedModel): The model.
    attention (TreeAttention): The attention.
    """
    # the sdpa attention of transformers ignores soft-capping
    _running.attention = attention
    _running.softcaps = attention_name(model.config) != "sdpa"
    try:
        with swapped_attention(model, NAME):
            yield
    finally:
        del _running.attention


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute the attention of packed tokens, as transformers' interface asks for.

    module (torch.nn.Module): The attention module of a layer.
    scaling, softcap (float | None): See `attend_plainly`.
    attention_mask (torch.Tensor | None): Not used, as `kwargs`: the trees have masks of
        their own.
    query, key, value (torch.Tensor): (1, heads, tokens, head size).
    RETURNS (tuple[torch.Tensor, None]): The output (1, tokens, heads, head size);
        attention weights are not returned.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    softcap = softcap if _running.softcaps else None
    qkv = QKV(*(part[0].transpose(0, 1) for part in (query, key, value)))
    output: torch.Tensor = _running.attention(module.layer_idx, qkv, scale, softcap)
    return output[None], None


AttentionInterface.register(NAME, attend)
