"""How large the inputs of a model's products are, to share their range with weights.

A few channels of the hidden states of an LLM are much larger than the others, and would
leave them few of the 256 values of an 8-bit number. SmoothQuant (Xiao et al., 2023)
divides each channel by a number, and multiplies the weights of the channel with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch

from spacy_padellm.prompt.token_strings import TokenStrings

# the channels are much the same in any text (Dettmers et al., 2022)
_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "In 1998, John Smith of Acme Corp. moved from Berlin to New York (USA).",
    "$3.5 million were paid on Tuesday, 12 May; see http://www.example.com/a?b=c!",
    "i luv this song lol @friend #music",
    "def f(x): return {x: [1, 2, 3]}",
    "Er wohnt in Zürich. 我住在北京，他在上海工作。",
)
_TOKENS = 64  # of a vocabulary without tokens for the sentences
# the inputs' share; the best of 0.35, 0.5, 0.65 and 0.8 on UNER EWT dev with SmolLM2
_INPUTS = 0.65
_LEAST = 1e-5


def input_ranges(
    model: Any, tokenizer: Any, modules: Sequence[torch.nn.Module]
) -> dict[torch.nn.Module, torch.Tensor]:
    """Run a model over some sentences, and note the inputs of some parts.

    model (transformers.PreTrainedModel): The model, in evaluation mode.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    modules (Sequence[torch.nn.Module]): Linear layers of the model.
    RETURNS (dict[torch.nn.Module, torch.Tensor]): The largest absolute value of each
        channel of a module's inputs, (inputs,), float32.
    """
    ranges: dict[torch.nn.Module, torch.Tensor] = {}

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        largest = inputs[0].abs().flatten(0, -2).amax(0).float()
        known = ranges.get(module, largest)
        ranges[module] = torch.maximum(known, largest)

    with ExitStack() as hooks, torch.inference_mode():
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(note).remove)
        for ids in _encode(tokenizer):
            inputs = torch.tensor([ids], device=model.device)
            model(input_ids=inputs, use_cache=False)
    return ranges


def _encode(tokenizer: Any) -> list[list[int]]:
    """The sentences as tokens; a tokenizer may have none for some of them."""
    strings = TokenStrings(tokenizer)
    encoded = [ids for ids in strings.plain(_TEXTS) if ids]
    words = encoded or [sorted(tokenizer.get_vocab().values())[:_TOKENS]]
    return [strings.start() + ids for ids in words]


def smoothing(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The factor of each channel: inputs are divided by it, weights multiplied.

    inputs (float32): The largest absolute value of each channel, (inputs,).
    weight (torch.Tensor): (outputs, inputs).
    RETURNS (float32): (inputs,), with a median of 1.
    """
    weights = weight.abs().amax(0).float().clamp(min=_LEAST)
    shares = inputs.clamp(min=_LEAST) ** _INPUTS / weights ** (1 - _INPUTS)
    return shares / shares.median()
