"""All layers of a model, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from spacy_padellm.lm.attention.products import QKV
from spacy_padellm.lm.layers.elementwise import rotate
from spacy_padellm.lm.layers.layer import Layer
from spacy_padellm.lm.layers.norms import Norm
from spacy_padellm.lm.layers.rotary import Rotary

# layer, queries with keys and values, scale -> output (tokens, heads, head size)
Attend = Callable[[int, QKV, float], torch.Tensor]
# token ids, position ids -> hidden states (tokens, hidden size)
Embed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Heads:
    """The attention heads of a model.

    queries, shared (int): Query heads, and heads of keys and values.
    size (int): The size of a head.
    scale (float): Factor of the attention scores.
    """

    queries: int
    shared: int
    size: int
    scale: float


@dataclass(frozen=True, slots=True)
class Rotaries:
    """The rotary position embeddings of a model's layers.

    kinds (Sequence[Rotary]): The different ones; empty without such embeddings.
    of_layer (Sequence[int]): Which of them each layer has.
    """

    kinds: Sequence[Rotary] = ()
    of_layer: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a model of a known kind, from token ids to last hidden states.

    device (torch.device): That of the embeddings.
    drops (bool): Whether training drops some of the numbers, which is not done here.
    is_split (bool): Whether the layers are on several devices.
    """

    embed: Embed
    layers: Sequence[Layer]
    norm: Norm
    heads: Heads
    rotaries: Rotaries
    device: torch.device
    drops: bool = False
    is_split: bool = field(init=False)

    def __post_init__(self) -> None:
        devices = {layer.device for layer in self.layers}
        devices |= {self.device, self.norm.weight.device}
        object.__setattr__(self, "is_split", len(devices) > 1)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, attend: Attend
    ) -> torch.Tensor:
        """Run the layers.

        ids, positions (int64): (tokens,), token ids and position ids.
        attend (Attend): Computes the attention of a layer.
        RETURNS (torch.Tensor): The last hidden states, (tokens, hidden size).
        """
        x = self.embed(ids, positions)
        turns = [rotary(x, positions) for rotary in self.rotaries.kinds]
        heads, kinds = self.heads, self.rotaries.of_layer
        queries, size, scale = heads.queries, heads.size, heads.scale
        tokens, turned = x.shape[0], queries + heads.shared
        for index, layer in enumerate(self.layers):
            if self.is_split:
                x = x.to(layer.device)
                turns = [
                    (cos.to(layer.device), sin.to(layer.device)) for cos, sin in turns
                ]
            qkv = layer.qkv(x).view(tokens, -1, size)
            qk = qkv[:, :turned]
            if layer.head_norms is not None:
                qk = layer.head_norms(qk)
            if turns:
                qk = rotate(qk, *turns[kinds[index]])
            states = QKV(qk[:, :queries], qk[:, queries:], qkv[:, turned:])
            attended = attend(index, states, scale)
            x = layer.add_attention(x, attended.reshape(tokens, -1))
            x = layer.add_mlp(x)
        return self.norm(x.to(self.norm.weight.device) if self.is_split else x)
