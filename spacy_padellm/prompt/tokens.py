"""The tokens of a prompt and of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.prompt.branches import (
    CountPrompts,
    MentionPrompts,
    common_prefix,
)
from spacy_padellm.prompt.pieces import PromptInPieces
from spacy_padellm.prompt.template import Prompt, end_of_template
from spacy_padellm.prompt.token_strings import TokenStrings
from spacy_padellm.prompt.whole import WholePrompt

_MOST_DRAFTS = 1 << 14  # names of a corpus that are kept
_MOST_LABEL_SETS = 1 << 10
MAX_COUNT_TOKENS = 6  # the longest answer to a count prompt: space, digits, end


class PromptTokens:
    """A prompt's pieces as the tokens of one tokenizer.

    Only the template may contain special tokens. Their strings in a text are encoded as
    plain text.
    """

    def __init__(self, prompt: Prompt, tokenizer: Any) -> None:
        """Bind a prompt to a tokenizer.

        prompt (Prompt): The templates.
        tokenizer (transformers.PreTrainedTokenizerBase): The model's tokenizer.
        RAISES (ValueError): If the tokenizer has no `<eos>`.
        """
        if tokenizer.eos_token_id is None:
            raise ValueError(Errors.P104.format(name=tokenizer.name_or_path))
        self.prompt = prompt
        self.tokenizer = tokenizer
        self.eos: int = tokenizer.eos_token_id
        self.strings = TokenStrings(tokenizer)
        mode = WholePrompt if prompt.whole else PromptInPieces
        self._mode: PromptInPieces | WholePrompt = mode(prompt, self.strings)
        self._draft = lru_cache(maxsize=_MOST_DRAFTS)(self._make_draft)
        self._longest = lru_cache(maxsize=_MOST_LABEL_SETS)(self._measure_longest)
        self._longest_index = lru_cache(maxsize=_MOST_LABEL_SETS)(self._measure_index)

    # Counts

    def count_prompts(
        self, texts: Sequence[str], names: Sequence[str]
    ) -> list[CountPrompts]:
        """The count prompts of texts: how many mentions of each label are there?

        texts (Sequence[str]): The texts.
        names (Sequence[str]): The labels' names in the prompt, at least one.
        RETURNS (list[CountPrompts]): One for each text.
        """
        return self._mode.count_prompts(texts, names)

    def longest_count_prompt(self, names: tuple[str, ...]) -> int:
        """Tokens of the longest count prompt, without those of the text.

        names (tuple[str, ...]): The labels' names in the prompt, at least one.
        """
        return self._longest(names)

    def _measure_longest(self, names: tuple[str, ...]) -> int:
        (prompts,) = self.count_prompts(["a"], names)
        longest = len(prompts.root) + max(map(len, prompts.labels))
        return longest - prompts.text_tokens

    def text_prompts(self, texts: Sequence[str]) -> list[CountPrompts]:
        """Prompts of the text's template only.

        They end with what the template has after the text; with a line break, if it has
        nothing there.

        texts (Sequence[str]): The texts.
        RETURNS (list[CountPrompts]): One for each text, without labels.
        """
        return self._mode.text_prompts(texts, self.end_of_text)

    @property
    def end_of_text(self) -> str:
        """The string between a text and the answer that follows it."""
        return end_of_template(self.prompt.text) or "\n"

    def read_count(self, generated: Sequence[int]) -> tuple[int, bool]:
        """Parse the model's answer to a count prompt, which may be incomplete.

        generated (Sequence[int]): The tokens generated so far.
        RETURNS (tuple[int, bool]): The count, and whether it is complete. It is
            complete once a token other than a digit follows, or at MAX_COUNT_TOKENS. An
            answer without a digit means 0.
        """
        digits = ""
        for token in generated[: MAX_COUNT_TOKENS - 1]:
            piece = self.strings.string(token)
            if piece == " " and not digits:
                continue  # a word marker before the number
            if not (piece if digits else piece.strip()).isdecimal():
                return int(digits or 0), True
            digits += piece.strip()
        return int(digits or 0), len(generated) >= MAX_COUNT_TOKENS

    def count_answer(self, count: int) -> list[int]:
        """Tokens that the model should generate for a count, with its end.

        count (int): Number of mentions of a label.
        """
        if count:
            return self._mode.count_answer(count)
        before, none = end_of_template(self.prompt.label), self.prompt.none
        return [*(self._mode.answer(before, none) if none else []), self.eos]

    @cached_property
    def count_start(self) -> tuple[int, ...]:
        """The common prefix of the answers 1 to 9 to a count prompt."""
        answers = [self.count_answer(count) for count in range(1, 10)]
        return tuple(answers[0][: common_prefix(answers[0], answers[-1])])

    @cached_property
    def count_digits(self) -> tuple[int, ...]:
        """The token after `count_start` in each answer from 1 to 9.

        Empty if they are not all different.
        """
        index = len(self.count_start)
        answers = [self.count_answer(count) for count in range(1, 10)]
        digits = tuple(answer[index] for answer in answers)
        return digits if len(set(digits)) == len(digits) else ()

    # Mentions

    def mention_prompts(
        self, text: str, name: str, *, count: int, number: int
    ) -> MentionPrompts:
        """The mention prompts of a label, for the indexes 1 to `number`.

        text (str): The text.
        name (str): The label's name in the prompt.
        count (int): The label's count, which the prompts contain.
        number (int): Number of prompts, at least 1.
        """
        return self._mode.mention_prompts(text, name, count=count, number=number)

    def longest_index(self, number: int) -> int:
        """Tokens of the longest count and index that follow a count prompt.

        number (int): The highest index.
        """
        return self._longest_index(number)

    def _measure_index(self, number: int) -> int:
        count = 10 ** (MAX_COUNT_TOKENS - 1) - 1
        prompts = self.mention_prompts("a", "a", count=count, number=number)
        longest = len(prompts.stem) + max(map(len, prompts.mentions))
        # a model may generate other tokens for a count
        return max(2 * MAX_COUNT_TOKENS, longest)

    def mention_answer(self, mention: str) -> list[int]:
        """Tokens that the model should generate for a mention, with `<eos>`."""
        before = end_of_template(self.prompt.mention)
        return [*self._mode.answer(before, mention), self.eos]

    def mention_draft(self, ids: Sequence[int]) -> list[int]:
        """Tokens that the model should generate for a mention of the text, without end.

        Many tokenizers have other tokens for its first word where a space precedes it.

        ids (Sequence[int]): The mention's tokens in the text.
        """
        return list(self._draft(tuple(ids)))

    def _make_draft(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        (mention,) = self.strings.decode_mentions([ids])
        return tuple(self.mention_answer(mention)[:-1])

    # Other answers

    def split_answer(self, before: str, parts: Sequence[str]) -> list[int]:
        """Tokens of an answer, with `<eos>`, tokenized like the prompt.

        before (str): The end of the prompt.
        parts (Sequence[str]): The answer, split where mentions start and end.
        """
        if not any(parts):
            return [self.eos]
        return [*self._mode.split_answer(before, parts), self.eos]

    def name_tokens(self, name: str) -> list[int]:
        """Tokens of a label's name."""
        return self.strings.plain([name])[0]
