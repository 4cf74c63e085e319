"""Prompts whose pieces are tokenized separately.

Shared pieces of prompts always have the same tokens, and the template may contain
special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from spacy_padellm.errors import Errors
from spacy_padellm.prompt.branches import CountPrompts, MentionPrompts, split_shared
from spacy_padellm.prompt.template import Prompt, split_fields
from spacy_padellm.prompt.token_strings import TokenStrings


class PromptInPieces:
    """The tokens of prompts and answers, piece by piece."""

    def __init__(self, prompt: Prompt, strings: TokenStrings) -> None:
        """Bind a prompt to a tokenizer.

        prompt (Prompt): The templates.
        strings (TokenStrings): The strings of its tokens.
        """
        self._prompt = prompt
        self._strings = strings
        before, *between, after = map(strings.template, split_fields(prompt.text))
        self._before = strings.start() + before
        self._between = between
        self._after = after
        self._label = lru_cache(maxsize=4096)(self._encode_label)
        self._count = lru_cache(maxsize=1024)(self._encode_count)
        self._index = lru_cache(maxsize=1024)(self._encode_index)

    def count_prompts(
        self, texts: Sequence[str], names: Sequence[str]
    ) -> list[CountPrompts]:
        """See `PromptTokens`."""
        shared, labels = split_shared([self._label(name) for name in names])
        return self._prompts(texts, self._after + shared, labels)

    def text_prompts(self, texts: Sequence[str], end: str) -> list[CountPrompts]:
        """See `PromptTokens`; `end` follows the last copy of each text."""
        return self._prompts(texts, self._strings.template(end), [[]])

    def _prompts(
        self, texts: Sequence[str], after: list[int], rests: list[list[int]]
    ) -> list[CountPrompts]:
        prompts = []
        for ids in self._strings.plain(texts):
            before = list(self._before)
            for between in self._between:
                before += ids + between
            text = (len(before), len(before) + len(ids))
            prompts.append(
                CountPrompts(
                    before + ids + after,
                    rests,
                    text,
                    self._prompt.bidirectional_span(text),
                    copies=1 + len(self._between),
                )
            )
        return prompts

    def mention_prompts(
        self, text: str, name: str, *, count: int, number: int
    ) -> MentionPrompts:
        """See `PromptTokens`."""
        counted = list(self._count(count))
        shared, mentions = split_shared([self._index(n) for n in range(1, number + 1)])
        return MentionPrompts(None, counted + shared, len(counted), mentions)

    def count_answer(self, count: int) -> list[int]:
        """Tokens of a count of at least 1, with its end.

        count (int): The count.
        """
        return list(self._count(count))

    def answer(self, before: str, answer: str) -> list[int]:
        """Tokens of an answer; they do not depend on the text before it.

        before (str): The end of the prompt.
        answer (str): The answer.
        """
        return self._strings.plain([answer])[0]

    def split_answer(self, before: str, parts: Sequence[str]) -> list[int]:
        """Tokens of an answer that is split where mentions start and end.

        If the tokenizer adds a space before every string, the leading space of each
        part is removed. So mentions have the same tokens in the answer as in the text.

        before (str): The end of the prompt.
        parts (Sequence[str]): The answer, split there.
        """
        if self._adds_spaces():
            parts = [part.removeprefix(" ") for part in parts]
        tokens = self._strings.plain([part for part in parts if part])
        return [token for ids in tokens for token in ids]

    def _adds_spaces(self) -> bool:
        """Whether the tokenizer adds a space before every string."""
        return " x" in self._strings.decode(self._strings.plain(["x"])[0] * 2)

    def _encode_label(self, name: str) -> tuple[int, ...]:
        if token := self._strings.special_in(name):
            raise ValueError(Errors.P150.format(name=name, token=token))
        return tuple(self._strings.template(self._prompt.label.format(label=name)))

    def _encode_count(self, count: int) -> tuple[int, ...]:
        return tuple(self._strings.template(self._prompt.count.format(count=count)))

    def _encode_index(self, n: int) -> tuple[int, ...]:
        return tuple(self._strings.template(self._prompt.mention.format(n=n)))
