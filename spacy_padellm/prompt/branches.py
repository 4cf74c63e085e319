"""The prompts of one text as tokens: what they share, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CountBranches:
    """Tokens that ask for the counts of a text: `root + labels[i]` is a whole prompt.

    root (list[int]): What all labels share.
    labels (list[list[int]]): The rest, for each label.
    text (tuple[int, int]): Where the text's own tokens stand in `root`.
    bidirectional_span (tuple[int, int]): Those of them that see each other in both
        directions.
    """

    root: list[int]
    labels: list[list[int]]
    text: tuple[int, int]
    bidirectional_span: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class MentionBranches:
    """Tokens that ask for the mentions of a label once its count is known.

    keep (int | None): How many tokens of the label's count prompt stay as they are;
        None means all.
    stem (list[int]): What all mentions share after these.
    counted (int): How many tokens of the stem belong to the count; those after it
        begin `<mention n>`.
    mentions (list[list[int]]): The rest, for each index.
    """

    keep: int | None
    stem: list[int]
    counted: int
    mentions: list[list[int]]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length in tokens of the longest common beginning of two token lists."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def split_shared(paths: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The common beginning of token lists, and the rests, none of them empty."""
    shared = min(len(path) for path in paths) - 1
    for path in paths[1:]:
        shared = min(shared, common_prefix(paths[0], path))
    return list(paths[0][:shared]), [list(path[shared:]) for path in paths]
