"""Prompts that are tokenised in one go, as the published checkpoints were trained.

A token may reach over the edge of a piece, so what prompts share is only known once
they are tokenised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spacy_padellm.prompt.branches import (
    CountBranches,
    MentionBranches,
    common_prefix,
    split_shared,
)
from spacy_padellm.prompt.template import Prompt, around
from spacy_padellm.prompt.token_strings import TokenStrings


class WholePrompt:
    """The tokens of prompts and answers, each tokenised in one go."""

    def __init__(self, prompt: Prompt, strings: TokenStrings) -> None:
        self._prompt = prompt
        self._strings = strings

    def count_branches(
        self, texts: Sequence[str], names: Sequence[str]
    ) -> list[CountBranches]:
        """See `PromptTokens`."""
        return [self._counts(text, names) for text in texts]

    def text_branches(self, texts: Sequence[str], end: str) -> list[CountBranches]:
        """See `PromptTokens`; `end` stands after a text that is last in its
        template."""
        template = self._prompt.text
        if around(template)[1]:
            end = ""
        branches = []
        for text, asked in zip(texts, self.count_branches(texts, [""]), strict=True):
            (root,) = self._tokens([template.format(text=text) + end])
            place = (asked.text[0], len(root))
            branches.append(
                CountBranches(root, [[]], place, self._prompt.bidirectional_span(place))
            )
        return branches

    def mention_branches(
        self, text: str, name: str, count: int, total: int
    ) -> MentionBranches:
        """See `PromptTokens`."""
        asked = self._prompt.text.format(text=text)
        asked += self._prompt.label.format(label=name)
        stated = asked + self._prompt.count.format(count=total)
        prompts = [
            stated + self._prompt.mention.format(n=n) for n in range(1, count + 1)
        ]
        label, counted, *paths = self._tokens([asked, stated, *prompts])
        shared, mentions = split_shared(paths)
        keep = min(common_prefix(label, shared), len(shared))
        end = max(keep, common_prefix(counted, shared))
        return MentionBranches(keep, shared[keep:], end - keep, mentions)

    def count_answer(self, count: int) -> list[int]:
        """Tokens of a count of at least 1, with what ends them."""
        _, before = around(self._prompt.label)
        return self.answer(before, self._prompt.count.format(count=count))

    def answer(self, before: str, answer: str) -> list[int]:
        """Tokens of an answer as they continue what stands before it."""
        prefix, joined = self._strings.plain([before, before + answer])
        if joined[: len(prefix)] == prefix:
            return joined[len(prefix) :]
        return self._strings.plain([answer])[0]

    def parted_answer(self, before: str, parts: Sequence[str]) -> list[int]:
        """Tokens of an answer that is cut where a mention begins and ends."""
        return self.answer(before, "".join(parts))

    def _counts(self, text: str, names: Sequence[str]) -> CountBranches:
        before, _ = around(self._prompt.text)
        stem = self._prompt.text.format(text=text)
        prompts = [stem + self._prompt.label.format(label=name) for name in names]
        root, labels = split_shared(self._tokens(prompts))
        begun, ended = self._tokens([before, before + text])
        place = (min(len(begun), len(root)), common_prefix(root, ended))
        return CountBranches(
            root, labels, place, self._prompt.bidirectional_span(place)
        )

    def _tokens(self, prompts: Iterable[str]) -> list[list[int]]:
        start = self._strings.start()
        return [start + ids for ids in self._strings.plain(list(prompts))]
