"""Drafts of whole mentions, from what a model that tags its texts has tagged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby


def tagged_mentions(
    text: Sequence[int], tags: Sequence[int], labels: Sequence[str]
) -> dict[str, list[list[int]]]:
    """Label -> the tokens of its mentions in text order, as they were tagged.

    text (Sequence[int]): The text's tokens.
    tags (Sequence[int]): The tag of each: 0 outside mentions, n for the n-th label.
    labels (Sequence[str]): The labels.
    """
    mentions: dict[str, list[list[int]]] = {label: [] for label in labels}
    for tag, run in groupby(zip(text, tags, strict=True), key=lambda pair: pair[1]):
        if tag:
            mentions[labels[tag - 1]].append([token for token, _ in run])
    return mentions
