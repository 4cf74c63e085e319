"""A text with its gold mentions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoldText:
    """A text and its gold mentions.

    text (str): The text.
    mentions (Mapping[str, Sequence[str]]): Label -> mention strings in text order.
    spans (Sequence[tuple[int, int, str]]): Character offsets (start, end) and label of
        each mention; empty if unknown.
    """

    text: str
    mentions: Mapping[str, Sequence[str]]
    spans: Sequence[tuple[int, int, str]] = ()
