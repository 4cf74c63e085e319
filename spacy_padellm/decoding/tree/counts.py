"""The counts of one text's token tree.

As soon as a pass gives a number, its mentions join the tree, before the next token has
confirmed that the number is complete. If the text is tagged, the mentions of the count
that the tags show join even earlier, together with the label's prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from spacy_padellm.decoding.tree.count_branch import (
    ChosenCount,
    CountBranch,
    CountTokens,
    FinalCount,
)
from spacy_padellm.decoding.tree.planting import MentionPlanter
from spacy_padellm.decoding.tree.step import PassResult
from spacy_padellm.decoding.tree.tags import TaggedMention
from spacy_padellm.decoding.tree.text_job import TextJob

_LEAST_PROBABILITY = 1e-30  # its logarithm is finite


@dataclass(frozen=True, slots=True)
class CountGrower:
    """Decodes the counts of one text, pass by pass.

    job (TextJob): The text.
    planter (MentionPlanter): Adds the mentions of a count to the tree.
    """

    job: TextJob
    planter: MentionPlanter

    def plant(
        self, label: str, ids: Sequence[int], tagged: Sequence[TaggedMention] = ()
    ) -> CountBranch:
        """Add a label's prompt to the tree, and ask for its count.

        label (str): The label.
        ids (Sequence[int]): The tokens of its prompt after the root.
        tagged (Sequence[TaggedMention]): The mentions that its tags show.
        RETURNS (CountBranch): The label, whose count the next pass gives.
        """
        tree, request = self.job.tree, self.job.request
        end = tree.extend(self.job.root, ids)
        branch = CountBranch(label, end - len(ids) + 1, end, self._forced(label))
        output = request.ask(end)
        # most tokenizers of words put a space token before every number
        drafted: Sequence[int] = self.job.prompt.count_start
        if drafted:
            request.ask_draft(end, tree.extend(end, drafted))
        outputs = [*range(output, output + len(drafted) + 1)]
        distribution = None
        if self.job.selection.min_count_probability is not None:
            distribution = self._ask_distribution(outputs)
        guess, guess_end = 0, self._plant_guess(branch, tagged)
        if guess_end is not None:
            guess = len(tagged)
            outputs, drafted = [*outputs, guess_end], self._digit(guess)
        branch.pending = CountTokens(outputs, drafted, distribution, guess)
        return branch

    def advance(
        self, branch: CountBranch, result: PassResult, tagged: Sequence[TaggedMention]
    ) -> None:
        """Take what the last pass gave of a count, and ask for more if needed.

        branch (CountBranch): The label. Its `pending` is updated: if it is None, the
            count is complete, and `branch.mentions` are its mentions.
        result (PassResult): The outputs of the last pass.
        tagged (Sequence[TaggedMention]): The mentions of the label's tags, as drafts.
        RAISES (ValueError): If the model's context has no room for a mention.
        """
        pending = branch.pending
        if isinstance(pending, CountTokens):
            branch.pending = self._take(branch, pending, result, tagged)
        elif isinstance(pending, ChosenCount):
            branch.pending = self._confirm(branch, pending, result, tagged)
        else:
            branch.pending = None

    def _forced(self, label: str) -> list[int] | None:
        forced = self.job.forced
        return None if forced is None else forced.count(self.job.text, label)

    def _ask_distribution(self, outputs: Sequence[int]) -> int | None:
        """Ask for the distribution of a count; returns its index.

        outputs (Sequence[int]): Numbers of the outputs up to the digit.
        """
        prompt, probabilities = self.job.prompt, self.job.request.probabilities
        if not prompt.count_digits:
            return None
        index = len(probabilities)
        probabilities += zip(outputs, prompt.count_start, strict=False)
        probabilities += [(outputs[-1], digit) for digit in prompt.count_digits]
        return index

    def _plant_guess(
        self, branch: CountBranch, tagged: Sequence[TaggedMention]
    ) -> int | None:
        """Add the mentions that a label's tags show, before its count is known.

        RETURNS (int | None): Number of the output that gives the token after their
            count; None if none were added.
        """
        count = len(tagged)
        if 0 < count <= len(self.job.prompt.count_digits):
            # if the mentions do not fit the context, the count may still be 0
            with suppress(ValueError):
                return self._plant_mentions(branch, count, self._digit(count), tagged)
        return None

    def _take(
        self,
        branch: CountBranch,
        given: CountTokens,
        result: PassResult,
        tagged: Sequence[TaggedMention],
    ) -> CountTokens | ChosenCount | FinalCount | None:
        """Choose a count from its distribution, or take the most likely tokens.

        RETURNS (CountTokens | ChosenCount | FinalCount | None): What is pending then.
        """
        if given.distribution is not None:
            tokens = self._first_tokens(given, result)
            likeliest = self._read_count(tokens)
            self._read_distribution(branch, given.distribution, likeliest, result)
            least = self.job.selection.min_count_probability or 0.0
            count = sum(probability >= least for probability in branch.at_least)
            if branch.at_least and count != likeliest:
                # it may be the first digit of a number, such as 1 of 19, but whether
                # there is a mention at all does not depend on the others
                digit = tokens if likeliest and count else []
                return self._choose(branch, count, digit, given.guess, tagged)
        count, complete = self._take_tokens(branch, given, result)
        if not complete:
            return self._plant_unconfirmed(branch, count, tagged)
        self._finish(branch, count)
        return None

    def _take_tokens(
        self, branch: CountBranch, given: CountTokens, result: PassResult
    ) -> tuple[int, bool]:
        """Take tokens as long as the draft is right, and one more.

        RETURNS (tuple[int, bool]): The count so far, and whether it is complete.
        """
        for output, drafted in zip_longest(given.outputs, given.drafted):
            token = result.tokens[output]
            if branch.forced is not None:
                token = branch.forced[len(branch.generated)]
            branch.generated.append(token)
            count, complete = self.job.prompt.read_count(branch.generated)
            if complete or token != drafted:
                break
        return count, complete

    def _first_tokens(self, given: CountTokens, result: PassResult) -> list[int]:
        """The most likely tokens of a count, up to its first digit."""
        end = len(self.job.prompt.count_start) + 1
        return [result.tokens[output] for output in given.outputs[:end]]

    def _read_count(self, tokens: Sequence[int]) -> int:
        """The count in its most likely tokens up to the first digit."""
        if tuple(tokens[:-1]) != self.job.prompt.count_start:
            return 0
        return self.job.prompt.read_count(tokens)[0]

    def _read_distribution(
        self, branch: CountBranch, index: int, likeliest: int, result: PassResult
    ) -> None:
        """Set the probabilities of at least 1, 2, ... mentions.

        They stay unknown if the most likely count is a number of several digits in one
        token.

        index (int): Index of the distribution in the result's probabilities.
        likeliest (int): The most likely count.
        """
        prompt = self.job.prompt
        end = index + len(prompt.count_start)
        before = math.prod(result.probabilities[index:end])
        digits = result.probabilities[end : end + len(prompt.count_digits)]
        sums = accumulate(before * digit for digit in reversed(digits))
        # rounded probabilities may add up to more than 1
        at_least = [min(total, 1.0) for total in sums][::-1]
        branch.at_least = at_least if likeliest <= len(digits) else ()

    def _choose(
        self,
        branch: CountBranch,
        count: int,
        digit: list[int],
        guess: int,
        tagged: Sequence[TaggedMention],
    ) -> ChosenCount | FinalCount | None:
        """Set a count that is not the most likely one.

        digit (list[int]): The tokens of the most likely count, if more digits after it
            would make another choice; else empty.
        guess (int): The count whose mentions are in the tree already.
        RETURNS (ChosenCount | FinalCount | None): What is pending then.
        """
        is_planted = count == guess and not digit
        if not is_planted:
            branch.mentions, branch.generated = [], []
            if count:
                branch.generated = self._digit(count)
                self._plant_mentions(branch, count, branch.generated, tagged)
        if digit:
            end = self.job.tree.extend(branch.end, digit)
            return ChosenCount(count, digit, self.job.request.ask(end))
        self._finish(branch, count)
        return FinalCount() if count and not is_planted else None

    def _confirm(
        self,
        branch: CountBranch,
        chosen: ChosenCount,
        result: PassResult,
        tagged: Sequence[TaggedMention],
    ) -> CountTokens | None:
        """Keep a chosen count, unless the most likely number has several digits.

        RETURNS (CountTokens | None): What is pending then.
        """
        generated = [*chosen.digit, result.tokens[chosen.output]]
        count, complete = self.job.prompt.read_count(generated)
        if not complete:
            branch.generated = generated
            return self._plant_unconfirmed(branch, count, tagged)
        self._finish(branch, chosen.count)
        return None

    def _finish(self, branch: CountBranch, count: int) -> None:
        """Keep the mentions that joined the tree before the count was known.

        Their scores start with the probability of the count.

        count (int): The count; 0 if none of them is kept.
        """
        if not count:
            branch.mentions = []
            return
        self.job.cuts.note_count(count, self.job.limits.max_mentions)
        for mention, probability in zip(branch.mentions, branch.at_least, strict=False):
            mention.log_probability = math.log(probability or _LEAST_PROBABILITY)

    def _plant_unconfirmed(
        self, branch: CountBranch, count: int, tagged: Sequence[TaggedMention]
    ) -> CountTokens:
        """Add the mentions of a count that may be complete, and ask for its end."""
        output = self._plant_mentions(branch, count, branch.generated, tagged)
        return CountTokens([output])

    def _plant_mentions(
        self,
        branch: CountBranch,
        count: int,
        generated: Sequence[int],
        tagged: Sequence[TaggedMention],
    ) -> int:
        """Add the mentions of a count to the tree.

        generated (Sequence[int]): The tokens of the count.
        RETURNS (int): Number of the output that gives the token after them.
        """
        branch.mentions = []
        if count > len(branch.at_least):
            branch.at_least = ()  # the distribution is that of single digits
        end = None
        if count:
            branch.mentions, end = self.planter.plant(
                branch.label,
                count,
                generated,
                tagged,
                prompt_start=branch.start,
                prompt_end=branch.end,
            )
        if end is None:
            end = self.job.tree.extend(branch.end, generated)
        return self.job.request.ask(end)

    def _digit(self, count: int) -> list[int]:
        """The tokens of a count of one digit, without its end."""
        prompt = self.job.prompt
        return prompt.count_answer(count)[: len(prompt.count_start) + 1]
