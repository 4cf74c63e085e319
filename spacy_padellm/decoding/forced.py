"""Answers that replace the model's, to measure speed with any weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spacy_padellm.prompt.tokens import PromptTokens


class ForcedOutputs:
    """Gold mentions of texts as answers to a decoder's prompts."""

    def __init__(
        self, prompt: PromptTokens, mentions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> None:
        """Prepare the answers.

        prompt (PromptTokens): The prompt in use.
        mentions (Mapping[str, Mapping[str, Sequence[str]]]): Text -> label ->
            mentions in text order.
        """
        self._prompt = prompt
        self.gold = mentions

    def count(self, text: str, label: str) -> list[int]:
        """Tokens of the answer to a count prompt, including the end.

        text, label (str): The text and the label of the prompt.
        """
        count = len(self.gold[text].get(label, ()))
        return self._prompt.count_answer(count)

    def mention(self, text: str, label: str, index: int) -> list[int]:
        """Tokens of the answer to a mention prompt, including `<eos>`.

        text, label (str): The text and the label of the prompt.
        index (int): The mention's number within the label, from 1.
        """
        return self._prompt.mention_answer(self.gold[text][label][index - 1])
