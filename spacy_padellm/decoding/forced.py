"""Answers that a decoder is made to give instead of the model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spacy_padellm.prompt.tokens import PromptTokens


class ForcedOutputs:
    """Answers that a decoder is made to give."""

    def __init__(
        self, prompt: PromptTokens, mentions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> None:
        """Prepare the answers' tokens.

        prompt (PromptTokens): The prompt in use.
        mentions (Mapping[str, Mapping[str, Sequence[str]]]): Text -> label ->
            mentions in text order.
        """
        self._prompt = prompt
        self.gold = mentions

    def bound(self, prompt: PromptTokens) -> ForcedOutputs:
        """The same answers in the tokens of another tokenizer, as a replica has it."""
        return self if prompt is self._prompt else ForcedOutputs(prompt, self.gold)

    def count(self, text: str, label: str) -> list[int]:
        """The answer to a count prompt, with what ends it."""
        count = len(self.gold[text].get(label, ()))
        return self._prompt.count_answer(count)

    def mention(self, text: str, label: str, index: int) -> list[int]:
        """The answer to a mention prompt, with `<eos>`."""
        return self._prompt.mention_answer(self.gold[text][label][index - 1])
