"""A model's vocabulary: project only the positions that are needed, and grow it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from spacy_padellm.compat.peft import stored_weight
from spacy_padellm.compat.transformers import hook_vocabulary_head
from spacy_padellm.errors import Errors


class VocabularyHead:
    """A hook on the vocabulary head that keeps only the positions that are needed."""

    def __init__(self, model: Any) -> None:
        """Add the hook to a model's vocabulary head.

        model (transformers.PreTrainedModel): The model.
        """
        self._positions: torch.Tensor | None = None
        self._hidden: torch.Tensor | None = None
        self._hook: Any = None
        self.attach(model)

    def __getstate__(self) -> dict[str, Any]:
        # those of a pass of another thread are not pickled
        return {**self.__dict__, "_positions": None, "_hidden": None}

    def attach(self, model: Any) -> None:
        """Add the hook again: added tokens make the head another module.

        model (transformers.PreTrainedModel): The model.
        """
        if self._hook is not None:
            self._hook.remove()
        self._hook = hook_vocabulary_head(model, self)

    def __call__(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Keep the hidden states, and return those at the positions: torch's hook.

        module (torch.nn.Module): The vocabulary head.
        args (tuple): The hidden states, (rows, width, size).
        RETURNS (tuple): The hidden states to project, on the head's device:
            (1, positions, size), or all.
        """
        hidden = args[0].to(stored_weight(module).device)
        if self._positions is None:
            return (hidden,)
        self._hidden = hidden.flatten(0, 1)
        return (self._hidden[self._positions][None],)

    @contextmanager
    def at(self, positions: torch.Tensor) -> Iterator[None]:
        """Project only these positions while the model runs.

        positions (int64): Indices row * width + slot.
        """
        self._positions = positions
        try:
            yield
        finally:
            # they would keep the autograd graph of a training pass alive
            self._positions = self._hidden = None

    @property
    def hidden(self) -> torch.Tensor:
        """The last hidden states of all tokens, (rows * width, size), inside `at`."""
        assert self._hidden is not None
        return self._hidden


def project(
    model: Any, hidden: torch.Tensor, tag_positions: torch.Tensor, tag_ids: torch.Tensor
) -> torch.Tensor:
    """Compute the products of a few vocabulary entries at a few positions.

    They are logits without a head's bias, and without the scale and the cap that some
    models have for their logits. Tags are trained and read with these products alone.

    model (transformers.PreTrainedModel): The model.
    hidden (torch.Tensor): (tokens, size), the last hidden states of a pass.
    tag_positions (int64): Indices of tokens of the pass.
    tag_ids (int64): Token ids whose products are computed.
    RETURNS (torch.Tensor): (tag_positions, tag_ids).
    """
    if not len(tag_positions):
        return hidden.new_zeros(0, len(tag_ids))
    head = model.get_output_embeddings()
    weight = head.weight  # looked at once: see `stored_weight`
    if weight.is_floating_point():
        return F.linear(hidden[tag_positions], weight[tag_ids])
    # it is quantized
    products: torch.Tensor = head(hidden[tag_positions])[:, tag_ids]
    bias = getattr(head, "bias", None)
    return products if bias is None else products - bias[tag_ids]


def check_vocabulary(model: Any, tokenizer: Any, *, name: Path | str) -> None:
    """Check that a model has an embedding for each token that a text can have.

    model (transformers.PreTrainedModel): The model.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer. Special tokens that
        no text has, such as Gemma's of images, need no embedding.
    name (Path | str): The model's name, for the error message.
    RAISES (ValueError): If there is a token without one.
    """
    added = tokenizer.added_tokens_decoder.values()
    special = {*tokenizer.all_special_tokens, *(t.content for t in added if t.special)}
    special -= {tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token}
    vocabulary = tokenizer.get_vocab()
    used = {t: number for t, number in vocabulary.items() if t not in special}
    _check_embeddings(model, used, name=name)


def check_special_tokens(model: Any, tokenizer: Any, tokens: Sequence[str]) -> None:
    """Check that a model has embeddings for those special tokens that a prompt has.

    model (transformers.PreTrainedModel): The model.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    tokens (Sequence[str]): The prompt's special tokens, if the tokenizer has them.
    RAISES (ValueError): If there is a token without one.
    """
    known = tokenizer.get_added_vocab() if tokens else {}
    used = {token: known[token] for token in tokens if token in known}
    _check_embeddings(model, used, name=tokenizer.name_or_path)


def _check_embeddings(
    model: Any, numbers: Mapping[str, int], *, name: Path | str
) -> None:
    rows = count_tokens(model)
    without = [token for token, number in numbers.items() if number >= rows]
    if without:
        first = min(without)
        message = Errors.P1001.format(name=name, count=len(without), first=first)
        raise ValueError(message)


def count_tokens(model: Any) -> int:
    """How many tokens a model has embeddings for.

    model (transformers.PreTrainedModel): The model.
    """
    return len(stored_weight(model.get_input_embeddings()))


def fit_vocabulary(model: Any, tokenizer: Any) -> None:
    """Give the model an embedding for each token of the tokenizer.

    New embeddings start as the mean of the others, so they are the same in each
    process.

    model (transformers.PreTrainedModel): The model.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    """
    known = count_tokens(model)
    if len(tokenizer) <= known:
        return
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[known:] = layer.weight[:known].mean(dim=0)


def start_with_words(model: Any, tokenizer: Any, new: Sequence[int]) -> None:
    """Let new tokens start as the mean of the tokens of their words.

    `<|mention 3|>` starts as the mean of "mention 3". Tokens without words stay as they
    are.

    model (transformers.PreTrainedModel): The model. A vocabulary head that is not tied
        to its embeddings is not changed.
    tokenizer (transformers.PreTrainedTokenizerBase): Its tokenizer.
    new (Sequence[int]): The ids of the new tokens.
    """
    embeddings = model.get_input_embeddings().weight
    words = [
        " ".join(re.findall(r"\w+", token))
        for token in tokenizer.convert_ids_to_tokens([*new])
    ]
    parts = tokenizer(words, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        for token, ids in zip(new, parts, strict=True):
            if ids:
                rows = torch.tensor(ids, device=embeddings.device)
                embeddings[token] = embeddings[rows].mean(dim=0)
