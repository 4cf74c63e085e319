"""Mentions as the decoder generates them, and after alignment to the text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["exact", "normalised", "dropped"]


@dataclass(frozen=True, slots=True)
class Mention:
    """A generated mention, not yet aligned to the text.

    label (str): The label (not its name in the prompt).
    index (int): The mention's number n within (text, label), from 1.
    text (str): The generated string.
    score (float): In 0..1: the product of the probabilities of its tokens, without
        `<eos>` (paper, section 3.3). A decoder may combine it with the probabilities
        of the count and of the tags.
    by_tags (bool): Whether the tags of the text alone found it. Such a mention was not
        generated as the n-th one: its index is only unlike the others of its label.
    """

    label: str
    index: int
    text: str
    score: float
    by_tags: bool = False


class TextMentions(list[Mention]):
    """The mentions of a text, from a decoder that also knows how many to expect.

    at_least (Mapping[str, Sequence[float]]): Label -> the probabilities that the text
        has at least 1, 2, ... mentions of it. Labels for which they are unknown are not
        in it.
    """

    def __init__(
        self, mentions: Iterable[Mention], at_least: Mapping[str, Sequence[float]]
    ) -> None:
        """Add to mentions how many to expect.

        mentions (Iterable[Mention]): The mentions of the text.
        at_least (Mapping[str, Sequence[float]]): See the class.
        """
        super().__init__(mentions)
        self.at_least = at_least


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A mention after alignment to the text.

    start (int): Offset of the first character.
    end (int): Offset after the last character; greater than `start`.
    label (str): The label.
    score (float): Probability of the mention, in 0..1.
    status (Status): How the string was matched in the text.
    """

    start: int
    end: int
    label: str
    score: float
    status: Status
