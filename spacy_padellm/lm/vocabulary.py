"""A model's vocabulary: its projection where it is read only, and its growth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F


class VocabularyHead:
    """The vocabulary projection, which is handed only the positions that are read."""

    def __init__(self, model: Any) -> None:
        """Hook a model's projection.

        model (transformers.PreTrainedModel): The model.
        """
        self._positions: torch.Tensor | None = None
        self._hidden: torch.Tensor | None = None
        self._hook: Any = None
        self.attach(model)

    def attach(self, model: Any) -> None:
        """Hook the projection anew, which is another module once tokens were added."""
        if self._hook is not None:
            self._hook.remove()
        head = model.get_output_embeddings()
        self._hook = head.register_forward_pre_hook(self)

    def __call__(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The hook."""
        if self._positions is None:
            return None
        self._hidden = args[0].flatten(0, 1)
        return (self._hidden[self._positions][None],)

    @contextmanager
    def at(self, positions: torch.Tensor) -> Iterator[None]:
        """Project these positions alone while the model runs.

        positions (int64): Each as row * width + slot.
        """
        self._positions = positions
        try:
            yield
        finally:
            # kept, it would keep the graph of a pass of training
            self._positions = self._hidden = None

    @property
    def hidden(self) -> torch.Tensor:
        """What all tokens gave the projection, (rows * width, size), inside of `at`."""
        assert self._hidden is not None
        return self._hidden


def project(
    model: Any, hidden: torch.Tensor, tag_positions: torch.Tensor, tag_ids: torch.Tensor
) -> torch.Tensor:
    """The logits of some tokens alone after some of those of a pass.

    model (transformers.PreTrainedModel): The model.
    hidden (torch.Tensor): (tokens, width), what was given the projection.
    tag_positions, tag_ids (int64): Places among the tokens of the pass, and tokens.
    RETURNS (torch.Tensor): (tag_positions, tag_ids).
    """
    if not len(tag_positions):
        return hidden.new_zeros(0, len(tag_ids))
    head = model.get_output_embeddings()
    return F.linear(hidden[tag_positions], head.weight[tag_ids])


def fit_vocabulary(model: Any, tokenizer: Any) -> None:
    """Give the model an embedding for each token of the tokenizer.

    New ones start as the mean of the others, the same in each process.
    """
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) <= known:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[known:] = layer.weight[:known].mean(dim=0)
