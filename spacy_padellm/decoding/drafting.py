"""Drafts: how a mention may go on, read off the text that it is copied from."""

from __future__ import annotations

from collections.abc import Sequence


def draft(text: Sequence[int], generated: Sequence[int], size: int) -> list[int]:
    """Continue generated tokens from where they stand in the text.

    text (Sequence[int]): The text's tokens.
    generated (Sequence[int]): A mention's tokens so far, at least one.
    size (int): Tokens to draft at most.
    RETURNS (list[int]): What follows the first place in the text that holds all
        generated tokens; nothing if there is none.
    """
    first, length = generated[0], len(generated)
    start = 0
    while True:
        try:
            start = text.index(first, start)
        except ValueError:
            return []
        end = start + length
        if list(text[start:end]) == list(generated):
            return list(text[end : end + size])
        start += 1
