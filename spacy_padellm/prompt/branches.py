"""The prompts of one text as tokens: a shared prefix and its branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CountPrompts:
    """The count prompts of a text; `root + labels[i]` is a complete prompt.

    root (list[int]): The tokens that the prompts of all labels share.
    labels (list[list[int]]): The remaining tokens of each label's prompt.
    text (tuple[int, int]): Start and end of the text's tokens in `root`, in its last
        copy.
    bidirectional_span (tuple[int, int]): Start and end of the tokens that attend to
        each other in both directions.
    copies (int): How often the text is in `root`.
    """

    root: list[int]
    labels: list[list[int]]
    text: tuple[int, int]
    bidirectional_span: tuple[int, int] = (0, 0)
    copies: int = 1

    @property
    def text_tokens(self) -> int:
        """The number of tokens of all copies of the text."""
        return self.copies * (self.text[1] - self.text[0])

    @property
    def sequences(self) -> list[list[int]]:
        """The complete prompts, one for each label."""
        return [self.root + ids for ids in self.labels]


@dataclass(frozen=True, slots=True)
class MentionPrompts:
    """The mention prompts of a label, whose count is known.

    keep (int | None): The number of tokens of the label's count prompt that begin these
        prompts; None means all.
    stem (list[int]): The tokens after them that the prompts of all mentions share.
    counted (int): The number of tokens of the stem that belong to the count; the
        tokens after them begin `<mention n>`.
    mentions (list[list[int]]): The remaining tokens of each mention's prompt.
    """

    keep: int | None
    stem: list[int]
    counted: int
    mentions: list[list[int]]

    def sequences(self, count_prompt: Sequence[int]) -> list[list[int]]:
        """The complete prompts, one for each mention.

        count_prompt (Sequence[int]): The label's complete count prompt.
        """
        path = [*count_prompt[: self.keep], *self.stem]
        return [path + ids for ids in self.mentions]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Get the length of the longest common prefix of two token lists."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def split_shared(paths: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Split token lists into their common prefix and their non-empty remainders.

    paths (Sequence[Sequence[int]]): The token lists.
    RETURNS (tuple[list[int], list[list[int]]]): The prefix, and the remainder of each
        list.
    """
    shared = min(len(path) for path in paths) - 1
    for path in paths[1:]:
        shared = min(shared, common_prefix(paths[0], path))
    return list(paths[0][:shared]), [list(path[shared:]) for path in paths]
