"""A prompt's tokens: what is asked, and what is answered.

It knows neither spaCy nor the model, only its tokenizer.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from spacy_padellm.errors import Errors
from spacy_padellm.prompt.template import Prompt
from spacy_padellm.prompt.token_strings import TokenStrings
from spacy_padellm.tree.token_tree import common_prefix

MAX_COUNT_TOKENS = 6  # tokens read of a count's answer: blank, digits, end


@dataclass(frozen=True, slots=True)
class CountBranches:
    """Tokens that ask for the counts of a text: `root + labels[i]` is a whole prompt.

    root (list[int]): What all labels share.
    labels (list[list[int]]): The rest, for each label.
    text (tuple[int, int]): Where the text's own tokens stand in `root`.
    mutual (tuple[int, int]): Those of them that see each other in both directions.
    """

    root: list[int]
    labels: list[list[int]]
    text: tuple[int, int]
    mutual: tuple[int, int] = (0, 0)


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


class PromptTokens:
    """A prompt's pieces as the tokens of one tokenizer.

    Only the template may hold special tokens: what looks like one in a text stays
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
        before, after = _around(prompt.text)
        self._before = self.strings.start() + self.strings.template(before)
        self._after = self.strings.template(after)
        self._label = lru_cache(maxsize=4096)(self._encode_label)
        self._count = lru_cache(maxsize=1024)(self._encode_count)
        self._index = lru_cache(maxsize=1024)(self._encode_index)

    # Counts

    def count_branches(
        self, texts: Sequence[str], names: Sequence[str]
    ) -> list[CountBranches]:
        """The prompts that ask how many mentions of each label a text has.

        texts (Sequence[str]): The texts.
        names (Sequence[str]): The labels' names in the prompt, at least one.
        RETURNS (list[CountBranches]): One for each text.
        """
        if self.prompt.whole:
            return [self._whole_counts(text, names) for text in texts]
        shared, labels = _split_shared([self._label(name) for name in names])
        branches = []
        for ids in self.strings.plain(texts):
            root = self._before + ids + self._after + shared
            place = (len(self._before), len(self._before) + len(ids))
            branches.append(CountBranches(root, labels, place, self.mutual(place)))
        return branches

    def mutual(self, text: tuple[int, int]) -> tuple[int, int]:
        """Of a text's tokens those that see each other in both directions."""
        return text if self.prompt.prefix_lm else (0, 0)

    def read_count(self, generated: Sequence[int]) -> tuple[int, bool]:
        """Read the model's answer to a count prompt, as far as it goes.

        generated (Sequence[int]): Tokens so far.
        RETURNS (tuple[int, bool]): The count, and whether it is complete. It is once a
            token other than a digit follows, or at MAX_COUNT_TOKENS; an answer without
            a digit counts 0.
        """
        digits = ""
        for token in generated[: MAX_COUNT_TOKENS - 1]:
            piece = self.strings.string(token)
            if piece == " " and not digits:
                continue  # a word mark before the number
            if not (piece if digits else piece.strip()).isdecimal():
                return int(digits or 0), True
            digits += piece.strip()
        return int(digits or 0), len(generated) >= MAX_COUNT_TOKENS

    def count_answer(self, count: int) -> list[int]:
        """Tokens that the model should give for a count, with what ends them.

        count (int): Number of mentions of a label.
        """
        before = _around(self.prompt.label)[1]
        if count == 0:
            none = self.prompt.none
            return [*(self._answer(before, none) if none else []), self.eos]
        if not self.prompt.whole:
            return list(self._count(count))
        return self._answer(before, self.prompt.count.format(count=count))

    @cached_property
    def count_start(self) -> tuple[int, ...]:
        """Tokens that the answers 1 to 9 to a count prompt all begin with."""
        answers = [self.count_answer(count) for count in range(1, 10)]
        return tuple(answers[0][: common_prefix(answers[0], answers[-1])])

    @cached_property
    def count_digits(self) -> tuple[int, ...]:
        """What follows `count_start` in the answers 1 to 9; empty if they are alike."""
        place = len(self.count_start)
        answers = [self.count_answer(count) for count in range(1, 10)]
        digits = tuple(answer[place] for answer in answers)
        return digits if len(set(digits)) == len(digits) else ()

    # Mentions

    def mention_branches(
        self, text: str, name: str, count: int, total: int
    ) -> MentionBranches:
        """The prompts that ask for the mentions 1..count of a label.

        text (str): The text.
        name (str): The label's name in the prompt.
        count (int): Number of mentions to ask for, at least 1.
        total (int): The count to state in the prompt.
        """
        if self.prompt.whole:
            return self._whole_mentions(text, name, count, total)
        counted = list(self._count(total))
        shared, mentions = _split_shared([self._index(n) for n in range(1, count + 1)])
        return MentionBranches(None, counted + shared, len(counted), mentions)

    def mention_answer(self, mention: str) -> list[int]:
        """Tokens that the model should give for a mention, with `<eos>`."""
        return [*self._answer(_around(self.prompt.mention)[1], mention), self.eos]

    # Tokens of pieces

    def _answer(self, before: str, answer: str) -> list[int]:
        """Tokens of an answer; in prompts in one go, as they continue `before`."""
        if self.prompt.whole:
            prefix, joined = self.strings.plain([before, before + answer])
            if joined[: len(prefix)] == prefix:
                return joined[len(prefix) :]
        return self.strings.plain([answer])[0]

    def _encode_label(self, name: str) -> tuple[int, ...]:
        if token := self.strings.special_in(name):
            raise ValueError(Errors.P150.format(name=name, token=token))
        return tuple(self.strings.template(self.prompt.label.format(label=name)))

    def name_tokens(self, name: str) -> list[int]:
        """Tokens of a label's name."""
        return self.strings.plain([name])[0]

    def _encode_count(self, count: int) -> tuple[int, ...]:
        return tuple(self.strings.template(self.prompt.count.format(count=count)))

    def _encode_index(self, n: int) -> tuple[int, ...]:
        return tuple(self.strings.template(self.prompt.mention.format(n=n)))

    # Prompts in one go

    def _whole(self, prompts: Iterable[str]) -> list[list[int]]:
        start = self.strings.start()
        return [start + ids for ids in self.strings.plain(list(prompts))]

    def _whole_counts(self, text: str, names: Sequence[str]) -> CountBranches:
        before, _ = _around(self.prompt.text)
        stem = self.prompt.text.format(text=text)
        prompts = [stem + self.prompt.label.format(label=name) for name in names]
        root, labels = _split_shared(self._whole(prompts))
        begun, ended = self._whole([before, before + text])
        place = (min(len(begun), len(root)), common_prefix(root, ended))
        return CountBranches(root, labels, place, self.mutual(place))

    def _whole_mentions(
        self, text: str, name: str, count: int, total: int
    ) -> MentionBranches:
        asked = self.prompt.text.format(text=text)
        asked += self.prompt.label.format(label=name)
        stated = asked + self.prompt.count.format(count=total)
        prompts = [
            stated + self.prompt.mention.format(n=n) for n in range(1, count + 1)
        ]
        label, counted, *paths = self._whole([asked, stated, *prompts])
        shared, mentions = _split_shared(paths)
        keep = min(common_prefix(label, shared), len(shared))
        end = max(keep, common_prefix(counted, shared))
        return MentionBranches(keep, shared[keep:], end - keep, mentions)


def _around(template: str) -> tuple[str, str]:
    """What stands before and after a template's only field."""
    pieces = [literal for literal, *_ in string.Formatter().parse(template)]
    return pieces[0], "".join(pieces[1:])


def _split_shared(paths: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The common beginning of token lists, and the rests, none of them empty."""
    shared = min(len(path) for path in paths) - 1
    for path in paths[1:]:
        shared = min(shared, common_prefix(paths[0], path))
    return list(paths[0][:shared]), [list(path[shared:]) for path in paths]
