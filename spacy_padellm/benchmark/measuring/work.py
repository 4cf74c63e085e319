"""Counts the forward passes of a model, and their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spacy_padellm.lm.language_model import LanguageModel


@dataclass(slots=True)
class Work:
    """The work of a model.

    passes (int): Forward passes.
    tokens (int): Tokens of the passes, padding included.
    """

    passes: int = 0
    tokens: int = 0


@contextmanager
def count_work(lm: LanguageModel | None) -> Iterator[Work]:
    """Count a model's passes by a hook of its input embeddings.

    lm (LanguageModel | None): The model; with None, nothing is counted.
    YIELDS (Work): The work so far.
    """
    work = Work()

    def count(module: Any, args: tuple[Any, ...]) -> None:
        work.passes += 1
        work.tokens += args[0].numel()

    if lm is None:
        yield work
        return
    hook = lm.model.get_input_embeddings().register_forward_pre_hook(count)
    try:
        yield work
    finally:
        hook.remove()
