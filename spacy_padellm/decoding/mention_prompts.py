"""The second round of prompts: one for each mention that a count announces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spacy_padellm.mention.mention import Mention
from spacy_padellm.prompt.branches import MentionPrompts


@dataclass(frozen=True, slots=True)
class MentionPrompt:
    """The prompt of a mention.

    text_index (int): Index of its text in the batch.
    label (str): The label.
    index (int): The mention's number within the label, from 1.
    sequence (list[int]): The tokens of the prompt.
    """

    text_index: int
    label: str
    index: int
    sequence: list[int]

    def answered_with(self, string: str, log_probabilities: Sequence[float]) -> Mention:
        """The mention that was generated.

        string (str): Its string.
        log_probabilities (Sequence[float]): The log-probabilities of its tokens.
        """
        return Mention(self.label, self.index, string, math.exp(sum(log_probabilities)))


def separate_prompts(
    prompts: MentionPrompts,
    count_sequence: Sequence[int],
    label: str,
    *,
    text_index: int,
) -> list[MentionPrompt]:
    """Make the prompts of all mentions of a label.

    prompts (MentionPrompts): The prompts, without what they share with the count's.
    count_sequence (Sequence[int]): The tokens of the count's prompt.
    label (str): The label.
    text_index (int): Index of the text in its batch.
    """
    return [
        MentionPrompt(text_index, label, index, sequence)
        for index, sequence in enumerate(prompts.sequences(count_sequence), start=1)
    ]
