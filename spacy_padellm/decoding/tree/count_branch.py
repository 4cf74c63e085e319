"""A label whose count is being decoded, and what the next pass gives of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spacy_padellm.decoding.tree.mentions import MentionBranch


@dataclass(frozen=True, slots=True)
class TagGuess:
    """A count that a label's tags show. Its mentions are in the tree already.

    count (int): The count.
    end_output (int): Number of the output that gives the token after its digit.
    """

    count: int
    end_output: int


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """The next pass runs a label's prompt, and gives the first tokens of its count.

    output (int): Number of the output after the prompt. The outputs after it are those
        after each token of `drafted`.
    drafted (tuple[int, ...]): Tokens that the prompt's tokenizer puts before every
        number.
    distribution (int | None): Index of the count's distribution in the probabilities
        that were asked for: one for each drafted token, then one for each digit. None
        if it is not needed.
    guess (TagGuess | None): The count of the label's tags.
    """

    output: int
    drafted: tuple[int, ...]
    distribution: int | None
    guess: TagGuess | None


@dataclass(frozen=True, slots=True)
class NextToken:
    """The next pass gives one more token, which may show that the count is complete.

    output (int): Number of that output.
    """

    output: int


@dataclass(frozen=True, slots=True)
class ChosenCount:
    """A count that is not the most likely one. Its mentions are in the tree already.

    The next pass shows whether the most likely digit is only the first of a number.

    count (int): The count.
    digit (list[int]): The tokens of the most likely digit.
    output (int): Number of the output that gives the token after them.
    """

    count: int
    digit: list[int]
    output: int


@dataclass(eq=False, slots=True)
class CountBranch:
    """A label whose count is being decoded.

    label (str): The label.
    start, end (int): Slots of the first and last token of its prompt after the root.
    forced (list[int] | None): Tokens of the count to use instead of the model's.
    pending (FirstTokens | NextToken | ChosenCount | None): What the next pass gives of
        the count; None if the count was chosen from its distribution and is final.
    at_least (Sequence[float]): The probabilities of at least 1, 2, ... mentions; empty
        if unknown.
    generated (list[int]): The tokens of the count so far.
    mentions (list[MentionBranch]): The mentions, if the count is complete.
    """

    label: str
    start: int
    end: int
    forced: list[int] | None
    pending: FirstTokens | NextToken | ChosenCount | None = None
    at_least: Sequence[float] = ()
    generated: list[int] = field(default_factory=list)
    mentions: list[MentionBranch] = field(default_factory=list)
