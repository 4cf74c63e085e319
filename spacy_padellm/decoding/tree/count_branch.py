"""A label whose count is being decoded, and what the next pass gives of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.decoding.tree.mentions import MentionBranch


@dataclass(frozen=True, slots=True)
class CountTokens:
    """The next pass gives tokens of the count, and may show that it is complete.

    outputs (Sequence[int]): Numbers of the outputs that give them. Each after the first
        one follows a token of `drafted`.
    drafted (Sequence[int]): Tokens that may begin the count: those that the prompt's
        tokenizer puts before every number, then the digit of `guess`.
    distribution (int | None): Index of the count's distribution in the probabilities
        that were asked for: one for each token before the digit, then one for each
        digit. None if it is not needed.
    guess (int): The count that the label's tags show, whose mentions are in the tree
        already; 0 if there is none.
    """

    outputs: Sequence[int]
    drafted: Sequence[int] = ()
    distribution: int | None = None
    guess: int = 0


@dataclass(frozen=True, slots=True)
class ChosenCount:
    """The next pass confirms a count that is not the most likely one, or does not.

    It shows whether the most likely digit is only the first of a number. The mentions
    of the count are in the tree already.

    count (int): The count.
    digit (list[int]): The tokens of the most likely digit.
    output (int): Number of the output that gives the token after them.
    """

    count: int
    digit: list[int]
    output: int


@dataclass(frozen=True, slots=True)
class FinalCount:
    """The next pass gives the first tokens of the mentions. The count is final."""


@dataclass(eq=False, slots=True)
class CountBranch:
    """A label whose count is being decoded.

    label (str): The label.
    start, end (int): Slots of the first and last token of its prompt after the root.
    forced (list[int] | None): Tokens of the count to use instead of the model's.
    pending (CountTokens | ChosenCount | FinalCount | None): What the next pass gives;
        None once the count is complete and its mentions were in a pass.
    at_least (Sequence[float]): The probabilities of at least 1, 2, ... mentions; empty
        if unknown.
    generated (list[int]): The tokens of the count so far.
    mentions (list[MentionBranch]): The mentions in the tree: those of the count once it
        is complete, before that those of a guess or of a number that may go on.
    """

    label: str
    start: int
    end: int
    forced: list[int] | None
    pending: CountTokens | ChosenCount | FinalCount | None = None
    at_least: Sequence[float] = ()
    generated: list[int] = field(default_factory=list)
    mentions: list[MentionBranch] = field(default_factory=list)
