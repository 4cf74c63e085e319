"""Prompts that are tokenized as a whole, as for the published checkpoints.

A token may cross the border of two pieces, so the shared prefix of prompts is only
known after tokenization.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spacy_padellm.prompt.branches import (
    CountPrompts,
    MentionPrompts,
    common_prefix,
    split_shared,
)
from spacy_padellm.prompt.template import Prompt, end_of_template, split_fields
from spacy_padellm.prompt.token_strings import TokenStrings


class WholePrompt:
    """The tokens of prompts and answers, each tokenized as a whole."""

    def __init__(self, prompt: Prompt, strings: TokenStrings) -> None:
        """Bind a prompt to a tokenizer.

        prompt (Prompt): The templates.
        strings (TokenStrings): The strings of its tokens.
        """
        self._prompt = prompt
        self._strings = strings
        self._copies = prompt.copies

    def count_prompts(
        self, texts: Sequence[str], names: Sequence[str]
    ) -> list[CountPrompts]:
        """See `PromptTokens`."""
        return [self._counts(text, names) for text in texts]

    def text_prompts(self, texts: Sequence[str], end: str) -> list[CountPrompts]:
        """See `PromptTokens`; `end` follows a text that ends its template."""
        template = self._prompt.text
        if end_of_template(template):
            end = ""
        prompts = []
        for text in texts:
            (root,) = self._tokens([template.format(text=text) + end])
            start, stop = self._place_of(text, root)
            # the answer is predicted from the last token, which follows the text
            span = (start, min(stop, len(root) - 1))
            both_ways = self._prompt.bidirectional_span(span)
            prompts.append(
                CountPrompts(root, [[]], span, both_ways, copies=self._copies)
            )
        return prompts

    def mention_prompts(
        self, text: str, name: str, *, count: int, number: int
    ) -> MentionPrompts:
        """See `PromptTokens`."""
        until_label = self._prompt.text.format(text=text)
        until_label += self._prompt.label.format(label=name)
        until_count = until_label + self._prompt.count.format(count=count)
        prompts = [
            until_count + self._prompt.mention.format(n=n) for n in range(1, number + 1)
        ]
        label, counted, *paths = self._tokens([until_label, until_count, *prompts])
        shared, mentions = split_shared(paths)
        keep = common_prefix(label, shared)
        end = max(keep, common_prefix(counted, shared))
        return MentionPrompts(keep, shared[keep:], end - keep, mentions)

    def count_answer(self, count: int) -> list[int]:
        """Tokens of a count of at least 1, with its end.

        count (int): The count.
        """
        before = end_of_template(self._prompt.label)
        return self.answer(before, self._prompt.count.format(count=count))

    def answer(self, before: str, answer: str) -> list[int]:
        """Tokens of an answer as the continuation of the string before it.

        before (str): The end of the prompt.
        answer (str): The answer.
        """
        prefix, joined = self._strings.plain([before, before + answer])
        if joined[: len(prefix)] == prefix:
            return joined[len(prefix) :]
        return self._strings.plain([answer])[0]

    def split_answer(self, before: str, parts: Sequence[str]) -> list[int]:
        """Tokens of an answer that is split where mentions start and end.

        before (str): The end of the prompt.
        parts (Sequence[str]): The answer, split there.
        """
        return self.answer(before, "".join(parts))

    def _counts(self, text: str, names: Sequence[str]) -> CountPrompts:
        stem = self._prompt.text.format(text=text)
        prompts = [stem + self._prompt.label.format(label=name) for name in names]
        root, labels = split_shared(self._tokens(prompts))
        span = self._place_of(text, root)
        both_ways = self._prompt.bidirectional_span(span)
        return CountPrompts(root, labels, span, both_ways, copies=self._copies)

    def _place_of(self, text: str, root: Sequence[int]) -> tuple[int, int]:
        """Start and end of the tokens of a text's last copy.

        text (str): The text.
        root (Sequence[int]): The tokens of a prompt, or those that its prompts share.
        """
        before = text.join(split_fields(self._prompt.text)[:-1])
        until_text, with_text = self._tokens([before, before + text])
        end = common_prefix(root, with_text)
        # a token may cross the border before the text
        return min(common_prefix(root, until_text), end), end

    def _tokens(self, prompts: Iterable[str]) -> list[list[int]]:
        start = self._strings.start()
        return [start + ids for ids in self._strings.plain(list(prompts))]
