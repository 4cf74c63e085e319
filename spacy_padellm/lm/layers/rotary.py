"""The cosines and sines of rotary position embeddings, computed once a position."""

from __future__ import annotations

from typing import Any

import torch

_STEP = 256  # positions by which the table grows


class Rotary:
    """Gives the factors of `elementwise.rotate`.

    On a CPU they are kept in a table, as a short pass takes ten operations for them.
    """

    def __init__(self, module: Any, *layer_type: str) -> None:
        """Wrap a model's module; nothing is computed yet.

        module (torch.nn.Module): The rotary embedding of a model.
        layer_type (str): The kind of layer, if the module has those of several.
        """
        self._module = module
        self._layer_type = layer_type
        # others use other frequencies for longer sequences
        kind: Any = getattr(module, "rope_type", "")
        for part in layer_type:
            kind = kind[part]
        self._fixed = kind in ("default", "linear", "llama3", "yarn")
        self._table: torch.Tensor | None = None

    def __call__(
        self, x: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Get the factors of tokens.

        x (torch.Tensor): Any tensor with the dtype and device of the factors.
        positions (int64): (tokens,), position ids.
        RETURNS (tuple[torch.Tensor, torch.Tensor]): Cosines and sines, each
            (tokens, 1, size); the first half of the sines is negative.
        """
        if x.device.type != "cpu" or not self._fixed:
            factors = self._compute(x, positions)
        else:
            factors = self._fitting_table(x, int(positions.max()) + 1)[positions]
        cos, sin = factors.unbind(1)
        return cos, sin

    def _fitting_table(self, x: torch.Tensor, size: int) -> torch.Tensor:
        """The factors of at least `size` positions: (positions, 2, 1, head size)."""
        table = self._table
        if table is None or len(table) < size or table.dtype != x.dtype:
            # tensors of inference mode could not be used in training
            with torch.inference_mode(False):
                positions = torch.arange(-(-size // _STEP) * _STEP, device=x.device)
                like = torch.empty(0, dtype=x.dtype, device=x.device)
                table = self._table = self._compute(like, positions)
        return table

    def _compute(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        cos, sin = self._module(x[None], positions[None], *self._layer_type)
        factors = torch.stack((cos[0], sin[0]), 1)[:, :, None]
        factors[:, 1, :, : factors.shape[-1] // 2].neg_()
        return factors
