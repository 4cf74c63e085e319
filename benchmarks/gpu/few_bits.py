"""Weights in few bits: 4 for the layers' matrices, 8 for the vocabulary.

A matrix is cut into groups of neighbouring weights that share a scale; what is stored
is each weight's number of steps from zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GROUP = 64  # weights of a layer's matrix that share a scale


class FewBits:
    """The matrices of a model, to be used in few bits and as they are."""

    def __init__(self, model: Any) -> None:
        """Take the matrices of a model, whose memory becomes one for all.

        model (transformers.PreTrainedModel): The model.
        """
        vocabulary = model.get_input_embeddings().weight
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._others = {n: p for n, p in model.named_parameters() if p.dim() < 2}
        layers = [p for p in model.parameters() if p.dim() == 2 and p is not vocabulary]
        self._parts = [
            _Part(layers, group=GROUP, bits=4),
            _Part([vocabulary], group=vocabulary.shape[1], bits=8),
        ]

    def use(self) -> None:
        """Let the model compute with its weights in few bits."""
        for part in self._parts:
            part.show(part.rounded())

    def restore(self) -> None:
        """Let it compute with its weights as they are."""
        for part in self._parts:
            part.show(part.full)

    def save(self, folder: Path) -> None:
        """Write `bits.safetensors`: codes and scales by the names of the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: p.detach().half().cpu() for n, p in self._others.items()}
        for part in self._parts:
            codes, scales = part.codes()
            start = 0
            for p in part.parameters:
                groups = p.numel() // part.group
                packed = codes[start : start + groups].to(torch.int8)
                if part.bits == 4:
                    low, high = (packed + 8).to(torch.uint8).view(-1, 2).T
                    packed = low | (high << 4)
                name = self._names[id(p)]
                tensors[f"{name}.codes"] = packed.flatten().contiguous().cpu()
                tensors[f"{name}.scales"] = (
                    scales[start : start + groups].flatten().half().cpu()
                )
                start += groups
        save_file(tensors, folder / "bits.safetensors")


class _Part:
    """Matrices that are stored in the same way, in one flat buffer."""

    def __init__(
        self, parameters: list[torch.nn.Parameter], *, group: int, bits: int
    ) -> None:
        self.parameters, self.group, self.bits = parameters, group, bits
        self.full = torch.cat([p.detach().flatten() for p in parameters])
        self.show(self.full)

    def show(self, flat: torch.Tensor) -> None:
        """Let the parameters be views of a buffer."""
        start = 0
        for p in self.parameters:
            p.data = flat[start : start + p.numel()].view(p.shape)
            start += p.numel()

    def codes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps from zero, (groups, group), and the steps' sizes, (groups, 1)."""
        most = (1 << (self.bits - 1)) - 1
        groups = self.full.view(-1, self.group)
        low, high = groups.aminmax(dim=1, keepdim=True)
        # one step more below zero than above: the scale's sign gives it to the larger
        larger = torch.where(-low > high, low, high)
        steps = -(most + 1) if self.bits == 4 else most
        scales = (larger / steps).half().float()
        scales = torch.where(scales == 0, torch.ones_like(scales), scales)
        return (groups / scales).round_().clamp_(-most - 1, most), scales

    @torch.no_grad()
    def rounded(self) -> torch.Tensor:
        """The buffer as it is read from few bits."""
        codes, scales = self.codes()
        return codes.mul_(scales).view(-1)
