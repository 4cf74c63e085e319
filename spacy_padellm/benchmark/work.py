"""How much a model is made to do: forward passes, and the tokens in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spacy_padellm.lm.language_model import LanguageModel


@dataclass(slots=True)
class Work:
    """What a model has done.

    passes (int): Forward passes.
    tokens (int): Tokens read in them, padding included.
    """

    passes: int = 0
    tokens: int = 0


@contextmanager
def count_work(lm: LanguageModel | None) -> Iterator[Work]:
    """Count a model's passes; every pass looks its tokens up in the embeddings once.

    lm (LanguageModel | None): The model; without one nothing is counted.
    YIELDS (Work): Grows with each pass.
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
